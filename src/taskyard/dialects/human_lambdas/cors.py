"""Requests from pages of any origin, as this wire has always let them through (contract, 1.7)."""

from collections.abc import MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_PREFLIGHT: Final = {
    "Access-Control-Allow-Headers": "accept, accept-encoding, authorization, content-type, dnt, origin, "
    "user-agent, x-csrftoken, x-requested-with",
    "Access-Control-Allow-Methods": "DELETE, GET, OPTIONS, PATCH, POST, PUT",
    "Access-Control-Max-Age": "86400",
    "Vary": "Origin",
}


class AnyOrigin:
    """Answers preflights before anybody asks who is there, and names the origin in every other answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(b"", 200, {**_PREFLIGHT, **allowed})(scope, receive, send)
            return

        async def send_allowed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(allowed)
            await send(message)

        await self._app(scope, receive, send_allowed)
