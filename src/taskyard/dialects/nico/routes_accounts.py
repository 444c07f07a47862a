"""Who asks, and as whose provider."""

from starlette.responses import Response

from taskyard.dialects.nico import render
from taskyard.dialects.nico.refuse import Said
from taskyard.http.dialect import Call


async def user(call: Call) -> Response:
    found = await call.backend.read(call.backend.services.federation.me, call.actor)
    return render.answer(render.user(found))


async def service_account(call: Call) -> Response:
    """Tokens of people only are understood, so nobody is one."""
    return render.answer({"enabled": False, "infrastructureProviderId": None, "tenantId": None})


async def provider(call: Call) -> Response:
    """Asking makes the organisation a provider, when it is none yet."""
    found = await call.backend.write(call.backend.services.sites.provide, call.actor)
    return render.answer(render.provider(found, call.path["org"]))


async def make_provider(call: Call) -> Response:
    raise Said(400, "Creating an Infrastructure Provider is deprecated; get the current one instead")
