"""Comparisons of what the inventory expects with what was last seen."""

from collections.abc import Callable

from starlette.responses import Response

from taskyard.core.site import Site, Tray
from taskyard.dialects.nico import parse, render
from taskyard.dialects.nico.gate import admit, site_of
from taskyard.dialects.nico.refuse import Said
from taskyard.dialects.nico.routes_sites import find_trays
from taskyard.http.dialect import Call
from taskyard.store.records import Records
from taskyard.store.sites import RackFilter, TrayFilter


async def racks(call: Call) -> Response:
    parse.known_query(call, "siteId", "name", "manufacturer")
    name, manufacturer = call.query.get("name"), call.query.get("manufacturer")
    filter = RackFilter(names=[name] if name else None, manufacturer=manufacturer or None)
    sites = call.backend.services.sites

    def find(records: Records, site: Site) -> list[Tray]:
        found = [rack.id for rack in sites.racks(records, site, filter)]
        return sites.trays(records, site, TrayFilter(racks=found))

    return await _compared(call, find)


async def rack(call: Call) -> Response:
    id = parse.path_id(call, "Rack")
    sites = call.backend.services.sites

    def find(records: Records, site: Site) -> list[Tray]:
        return sites.trays(records, site, TrayFilter(racks=[sites.rack(records, site, id).id]))

    return await _compared(call, find)


async def trays(call: Call) -> Response:
    known = ("siteId", "rackId", "rackName", "name", "manufacturer", "type", "componentId", "slotId")
    parse.known_query(call, *known)
    filter = parse.query_filter(call)
    wrong = parse.tray_filter_faults(filter)
    if wrong:
        raise Said(400, "Failed to validate request data", wrong)
    name, manufacturer = call.query.get("name"), call.query.get("manufacturer")

    def find(records: Records, site: Site) -> list[Tray]:
        return [
            tray
            for tray in find_trays(records, call, site, filter)
            if name in (None, "", tray.name) and manufacturer in (None, "", tray.manufacturer)
        ]

    return await _compared(call, find)


async def tray(call: Call) -> Response:
    id = parse.path_id(call, "Tray", "Invalid {} ID in URL")
    return await _compared(call, lambda records, site: [call.backend.services.sites.tray(records, site, id)])


async def _compared(call: Call, find: Callable[[Records, Site], list[Tray]]) -> Response:
    site_text = parse.query_site(call)
    await admit(call)
    found = await call.backend.read(lambda records: find(records, site_of(records, call, site_text)))
    return render.answer(render.validation(found))
