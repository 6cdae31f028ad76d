"""litdome: from light-stage recordings to relightable avatars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litdome.errors import LitdomeError

if TYPE_CHECKING:
    from litdome.store.session import Session
    from litdome.train_plugins.notebook import Relighter as Relighter

__version__ = "0.1.0"
__all__ = ["LitdomeError", "Relighter", "__version__", "open_session"]


def __getattr__(name: str) -> object:
    """`Relighter` at first use: what it imports would slow every command down."""
    if name != "Relighter":
        raise AttributeError(f"module 'litdome' has no attribute {name!r}")
    from litdome.train_plugins.notebook import Relighter

    return Relighter


def open_session(url: str, *, writable: bool = False) -> Session:
    """Open the session store at ``url`` (a path or any fsspec URL).

    Args:
        url: The session, for example ``take02.zarr``.
        writable: Whether arrays may be created and written.

    Raises:
        StoreError: Nothing there, not a litdome session, or a newer major schema.
    """
    from litdome.store.session import Session

    return Session.open(url, writable=writable)
