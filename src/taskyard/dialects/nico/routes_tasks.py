"""Tasks: one by its id, the lists of sites, racks and trays, and the end that somebody asks for."""

from collections.abc import Callable

from starlette.responses import Response

from taskyard.core.errors import WrongState
from taskyard.core.site import Site
from taskyard.core.task import Task
from taskyard.dialects.nico import parse, render
from taskyard.dialects.nico.bodies import CancelBody
from taskyard.dialects.nico.gate import admit, site_of
from taskyard.dialects.nico.refuse import Said
from taskyard.http.dialect import Call
from taskyard.store.records import Records

_LIST = ("siteId", "activeOnly", "includeReport", "pageNumber", "pageSize")


async def get(call: Call) -> Response:
    parse.known_query(call, "siteId")
    site_text = parse.query_site(call)
    await admit(call)
    id = parse.path_id(call, "Task")

    def look(records: Records) -> Task:
        site = site_of(records, call, site_text)
        return call.backend.services.operations.get(records, call.actor, site, id)

    return render.answer(render.task(await call.backend.read(look), with_report=True))


async def cancel(call: Call) -> Response:
    """Ends the task at once, whoever holds it: what the holder still says or wants to do is refused."""
    await admit(call)
    id = parse.path_id(call, "Task")
    asked = await parse.body(call, CancelBody)
    if not asked.site_id:
        raise Said(400, "Failed to validate cancel task request data", {"siteId": parse.BLANK})
    site_text = asked.site_id

    def end(records: Records) -> Task:
        site = site_of(records, call, site_text)
        return call.backend.services.operations.cancel(records, call.actor, site, id)

    try:
        ended = await call.backend.write(end)
    except WrongState as refusal:
        status = "Succeeded" if refusal.state == "succeeded" else "Failed"
        raise Said(409, f"task {id} cannot be cancelled (status: {status})") from None
    return render.answer(render.task(ended, with_report=True), 202)


async def of_site(call: Call) -> Response:
    await admit(call)
    parse.known_query(call, *_LIST)
    site_text = parse.query_site(call)
    operations = call.backend.services.operations
    return await _listed(
        call,
        site_text,
        lambda records, site, page, active: operations.of_site(
            records, call.actor, site, open_only=active, limit=page.size, offset=page.offset
        ),
    )


async def of_rack(call: Call) -> Response:
    id, site_text = await _admitted(call, "Rack")
    operations = call.backend.services.operations
    return await _listed(
        call,
        site_text,
        lambda records, site, page, active: operations.of_rack(
            records, call.actor, site, id, open_only=active, limit=page.size, offset=page.offset
        ),
    )


async def of_tray(call: Call) -> Response:
    id, site_text = await _admitted(call, "Tray")
    operations = call.backend.services.operations
    return await _listed(
        call,
        site_text,
        lambda records, site, page, active: operations.of_tray(
            records, call.actor, site, id, open_only=active, limit=page.size, offset=page.offset
        ),
    )


async def _admitted(call: Call, noun: str) -> tuple[str, str]:
    """Return the id in the path and the site's text, once all that comes before a look at the site is right."""
    id = parse.path_id(call, noun)
    parse.known_query(call, *_LIST)
    site_text = parse.query_site(call)
    await admit(call)
    return id, site_text


Listing = Callable[[Records, Site, parse.Page, bool], tuple[list[Task], int]]


async def _listed(call: Call, site_text: str, listing: Listing) -> Response:
    active, with_report = parse.truth(call, "activeOnly"), parse.truth(call, "includeReport")

    def look(records: Records) -> tuple[parse.Page, list[Task], int]:
        site = site_of(records, call, site_text)
        page = parse.page(call)
        return page, *listing(records, site, page, active)

    page, tasks, total = await call.backend.read(look)
    shown = [render.task(task, with_report=with_report) for task in tasks]
    return render.page(shown, number=page.number, size=page.size, total=total)
