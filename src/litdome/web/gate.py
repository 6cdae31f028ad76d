"""Who may talk to the page: only a browser that was given the token, on a page of this very server."""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")  # any port: ssh -L may lend another one
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """Refuses before the app sees it: another Host (DNS rebinding), another Origin or site (a page elsewhere that
    posts here), no token. The token comes once in the address and stays as a cookie.

    Args:
        app: What lies behind.
        token: The secret of this server.
        cookie: Name of the cookie; servers of one machine share a cookie jar, whatever their ports.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self.app, self.token, self.cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            brought = self._is_token(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0])
            at_door = scope["path"] == "/" and brought
            refused = refusal(scope, at_door=at_door) or ("" if at_door or self._has_cookie(scope) else NO_TOKEN)
            app = PlainTextResponse(refused, 403) if refused else self.app
            await app(scope, receive, self._answering(send, with_cookie=at_door))
        # a websocket gets no answer: there are none here

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())

    def _has_cookie(self, scope: Scope) -> bool:
        try:
            found = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and self._is_token(found.value)

    def _answering(self, send: Send, *, with_cookie: bool) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if with_cookie:
                    headers.append("Set-Cookie", f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        return answer


NO_TOKEN = "Open the whole address that `litdome review` printed: its token is missing or of an earlier start.\n"


def refusal(scope: Scope, *, at_door: bool) -> str:
    """Why a request may not pass, in words; empty if it may.

    Args:
        scope: Of the request.
        at_door: It asks for the page and brings the token: it may come from a link on any site.
    """
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or (hosts[0].lower().rpartition(":")[0] not in HOSTS and hosts[0].lower() not in HOSTS):
        return "Refused: this server is 127.0.0.1 or localhost.\n"
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
        return "Refused: asked by a page of another origin.\n"
    if origin is None and scope["method"] not in ("GET", "HEAD"):
        return "Refused: a change must say which origin asks for it.\n"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not at_door:
        return "Refused: asked by a page of another site.\n"
    return ""
