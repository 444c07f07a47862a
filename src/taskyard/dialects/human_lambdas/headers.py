"""The headers of every answer: which methods a path has, and that pages of any origin may read it (contract, 1.6 and 1.7)."""

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


#: The order in which this wire has always named methods.
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class OnEveryAnswer:
    """Adds them; and answers preflights before anybody asks who is there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        added: dict[str, str] = {}
        if origin is not None:
            added = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await Response(b"", 200, {**_PREFLIGHT, **added})(scope, receive, send)
                return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update({**_allow(scope), **added})
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _allow(scope: Scope) -> dict[str, str]:
    """Return the header ``Allow``; none where there is no such path."""
    methods = set(scope.get("taskyard.allowed", ()))
    if not methods:
        return {}
    methods |= {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    return {"Allow": ", ".join(each for each in _METHODS if each in methods)}
