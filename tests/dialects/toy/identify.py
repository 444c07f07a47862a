"""Who asks: a key in a header of its own."""

from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.core.errors import Unauthenticated
from taskyard.http.dialect import Backend


async def identify(request: Request, backend: Backend) -> Actor:
    key = request.headers.get("x-toy-key")
    if not key:
        raise Unauthenticated("who plays? say it in X-Toy-Key")
    return await backend.keys.actor(key)
