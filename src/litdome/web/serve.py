"""Serve a review on this machine until it is told to stop."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

import uvicorn

from litdome.errors import UsageError
from litdome.web.app import review_app
from litdome.web.review import Review
from litdome.web.thumbnails import Thumbnails

ADDRESS = "127.0.0.1"
LAST_REQUESTS_S = 5


def serve_review(review: Review, *, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; running requests end first.

    Args:
        review: What is reviewed.
        port: 0: any that is free.
        ready: Called with the page's address, token included, once it answers.

    Raises:
        UsageError: The port is taken, or not for this user.
    """
    with _listen(port) as listening:
        token = secrets.token_urlsafe(24)
        thumbnails = Thumbnails(review.session, review.cameras, review.table.pairs)
        config = uvicorn.Config(
            review_app(review, thumbnails, token),
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=LAST_REQUESTS_S,
        )
        thumbnails.start()
        try:
            ready(f"http://{ADDRESS}:{listening.getsockname()[1]}/?token={token}")
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn raises the Ctrl-C that ended it once more
            pass
        finally:
            thumbnails.stop()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(f"--port {port}: {getattr(error, 'strerror', None) or error}", hint="--port 0") from error
    return listening
