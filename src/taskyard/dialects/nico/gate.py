"""What every endpoint for providers asks first: the role, the organisation's provider, the site; in the wire's order and words."""

from taskyard.core.actor import Permission
from taskyard.core.errors import NotFound
from taskyard.core.site import Site
from taskyard.dialects.nico.parse import site_id
from taskyard.dialects.nico.refuse import Said
from taskyard.http.dialect import Call
from taskyard.service.sites import ForeignSite
from taskyard.store.records import Records


async def admit(call: Call) -> None:
    """Refuse whoever may not operate (403), and organisations that provide no infrastructure (400)."""
    call.actor.require(Permission.CONTROL)
    try:
        await call.backend.read(call.backend.services.sites.provider, call.actor)
    except NotFound:
        raise Said(400, "Failed to retrieve Infrastructure Provider for org") from None


def site_of(records: Records, call: Call, id: str) -> Site:
    """Return the site of the text *id*, where operations are possible."""
    try:
        site = call.backend.services.sites.get(records, call.actor, site_id(id))
    except ForeignSite:
        raise Said(403, "Site specified in request doesn't belong to current org's Provider") from None
    except NotFound:
        raise Said(400, "Site specified in request does not exist") from None
    if not site.operable:
        raise Said(412, "Site does not have NICo Flow enabled")
    return site
