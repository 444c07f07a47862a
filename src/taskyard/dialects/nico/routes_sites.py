"""Racks and trays, to find ids and states."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.site import Rack, Site, Tray
from taskyard.dialects.nico import parse, render
from taskyard.dialects.nico.bodies import TrayFilterBody
from taskyard.dialects.nico.gate import admit, site_of
from taskyard.dialects.nico.refuse import Said
from taskyard.http.dialect import Call
from taskyard.store.records import Records
from taskyard.store.sites import RackFilter, TrayFilter

_RACK_ORDERS: Final = {
    "NAME": attrgetter("name"),
    "MANUFACTURER": attrgetter("manufacturer"),
    "MODEL": attrgetter("model"),
}
_TRAY_ORDERS: Final = {**_RACK_ORDERS, "TYPE": attrgetter("kind")}
_PAGE: Final = ("pageNumber", "pageSize", "orderBy")


async def racks(call: Call) -> Response:
    parse.known_query(call, "siteId", "includeComponents", "name", "manufacturer", *_PAGE)
    site_text = parse.query_site(call)
    with_trays = parse.truth(call, "includeComponents")
    name, manufacturer = call.query.get("name"), call.query.get("manufacturer")
    filter = RackFilter(names=[name] if name else None, manufacturer=manufacturer or None)
    await admit(call)
    sites = call.backend.services.sites

    def look(records: Records) -> tuple[parse.Page, list[Any], int]:
        site = site_of(records, call, site_text)
        page = parse.page(call, _orders(_RACK_ORDERS))
        found = _ordered(sites.racks(records, site, filter), page, _RACK_ORDERS)
        shown = found[page.offset : page.offset + page.size]
        trays = (
            sites.trays(records, site, TrayFilter(racks=[rack.id for rack in shown])) if with_trays else None
        )
        return page, [render.rack(rack, _within(rack, trays)) for rack in shown], len(found)

    page, shown, total = await call.backend.read(look)
    return render.page(shown, number=page.number, size=page.size, total=total, order=page.order)


async def rack(call: Call) -> Response:
    parse.known_query(call, "siteId", "includeComponents")
    site_text = parse.query_site(call)
    with_trays = parse.truth(call, "includeComponents")
    await admit(call)
    id = parse.path_id(call, "Rack")
    sites = call.backend.services.sites

    def look(records: Records) -> tuple[Rack, list[Tray] | None]:
        site = site_of(records, call, site_text)
        found = sites.rack(records, site, id)
        return found, sites.trays(records, site, TrayFilter(racks=[id])) if with_trays else None

    return render.answer(render.rack(*await call.backend.read(look)))


async def trays(call: Call) -> Response:
    known = ("siteId", "rackId", "rackName", "type", "componentId", "id", "slotId")
    parse.known_query(call, *known, *_PAGE)
    site_text = parse.query_site(call)
    filter = parse.query_filter(call)
    wrong = parse.tray_filter_faults(filter)
    if wrong:
        raise Said(400, "Failed to validate request data", wrong)
    await admit(call)

    def look(records: Records) -> tuple[parse.Page, list[Any], int]:
        site = site_of(records, call, site_text)
        page = parse.page(call, _orders(_TRAY_ORDERS))
        found = _ordered(find_trays(records, call, site, filter), page, _TRAY_ORDERS)
        shown = found[page.offset : page.offset + page.size]
        return page, _rendered(records, call, site, shown), len(found)

    page, shown, total = await call.backend.read(look)
    return render.page(shown, number=page.number, size=page.size, total=total, order=page.order)


async def tray(call: Call) -> Response:
    site_text = parse.query_site(call)
    await admit(call)
    id = parse.path_id(call, "Tray", "Invalid {} ID in URL")

    def look(records: Records) -> Any:
        site = site_of(records, call, site_text)
        found = call.backend.services.sites.tray(records, site, id)
        return _rendered(records, call, site, [found])[0]

    return render.answer(await call.backend.read(look))


def find_trays(records: Records, call: Call, site: Site, filter: TrayFilterBody | None) -> list[Tray]:
    """Return the trays that a filter without faults asks for."""
    sites = call.backend.services.sites
    racks: list[str] | None = None
    if filter is not None and (filter.rack_id or filter.rack_name):
        wanted = RackFilter(
            ids=[parse.uuid_of(filter.rack_id) or ""] if filter.rack_id else None,
            names=[filter.rack_name] if filter.rack_name else None,
        )
        racks = [rack.id for rack in sites.racks(records, site, wanted)]
    return sites.trays(records, site, parse.tray_filter(filter, racks))


def _rendered(records: Records, call: Call, site: Site, trays: Sequence[Tray]) -> list[Any]:
    wanted = RackFilter(ids=sorted({tray.rack for tray in trays}))
    domains = {rack.id: rack.domains for rack in call.backend.services.sites.racks(records, site, wanted)}
    return [render.tray(tray, domains.get(tray.rack, ())) for tray in trays]


def _within(rack: Rack, trays: Sequence[Tray] | None) -> list[Tray] | None:
    return None if trays is None else [tray for tray in trays if tray.rack == rack.id]


def _orders(keys: Mapping[str, Callable[[Any], Any]]) -> list[str]:
    return [f"{name}_{way}" for name in keys for way in ("ASC", "DESC")]


def _ordered(found: list[Any], page: parse.Page, keys: Mapping[str, Callable[[Any], Any]]) -> list[Any]:
    if page.order is None:
        return found
    name, _, way = page.order.rpartition("_")
    return sorted(found, key=keys[name], reverse=way == "DESC")
