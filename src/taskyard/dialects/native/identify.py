"""Who asks: the bearer of a key."""

from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.http.backend import Backend
from taskyard.http.identify import bearer


async def identify(request: Request, backend: Backend) -> Actor:
    return await backend.keys.actor(bearer(request))
