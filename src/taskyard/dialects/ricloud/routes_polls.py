"""Polls: what is asked of a source."""

from typing import Any, Final

from starlette.responses import Response

from taskyard.core.actor import Actor
from taskyard.core.source import Poll
from taskyard.dialects.ricloud import parse, render
from taskyard.dialects.ricloud.awaiting import ORIGIN, awaited
from taskyard.dialects.ricloud.identify import key_of
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.http.dialect import Call
from taskyard.service.services import Services
from taskyard.store.engine import Value
from taskyard.store.records import Records
from taskyard.store.results import NONE

STATES: Final = ("pending", "processing", "completed")


async def create_poll(call: Call) -> Response:
    body = await parse.body_of(call)
    session = parse.text(body, "session")
    if parse.text(body, "subscription") is not None:
        raise Bad("subscription", "this server has no subscriptions; name a session")
    if not session:
        raise Bad("session", "this is required")
    source, payload = parse.number(body, "source"), parse.mapping(body, "payload")

    def begin(records: Records) -> Poll:
        return _services(call).polls.begin(
            records,
            call.actor,
            session,
            payload or {},
            source=source,
            key=key_of(records, call).number,
            origin=ORIGIN,
        )

    begun = await call.backend.write(begin)

    def look(records: Records) -> dict[str, Any]:
        return _shown_poll(records, _services(call), call.actor, begun.id)

    # Its tasks are several, so whatever happens in the organisation is a reason to look again.
    shown = await awaited(call, None, look, lambda seen: seen["state"] == "completed")
    return render.answer(shown, 201)


async def list_polls(call: Call) -> Response:
    query = parse.query_of(call, ("session", "source", "user", "key", "subscription", "state", "requestor"))
    wanted: dict[str, Value] = {name: parse.number_in(query, name) for name in ("source", "user", "key")}
    wanted["session"] = query.get("session")
    state = parse.word_in(query, "state", STATES)
    requestor = parse.word_in(query, "requestor", ("client", "subscription"))
    automatic = requestor == "subscription" or "subscription" in query

    def look(records: Records) -> dict[str, Any]:
        organisation = call.actor.organisation
        window = parse.window_of(query, lambda id: _number_of(records.polls.get(organisation, id)))
        found, total = _services(call).polls.search(records, call.actor, wanted, state, window)
        if automatic:  # nothing polls by itself here
            found, total = [], 0
        shown = found[: window.limit - 1]
        results = records.results.first_of_polls(organisation, [each.id for each in shown], render.NESTED)
        return render.page(
            [render.poll(each, results.get(each.id, NONE)) for each in shown],
            total=total,
            url="/polls",
            has_more=len(found) > len(shown),
        )

    return render.answer(await call.backend.read(look))


async def get_poll(call: Call) -> Response:
    id = parse.id_in_path(call, "poll")
    return render.answer(await call.backend.read(_shown_poll, _services(call), call.actor, id))


def _shown_poll(records: Records, services: Services, actor: Actor, id: str) -> dict[str, Any]:
    poll = services.polls.get(records, actor, id)
    first = records.results.first_of_polls(actor.organisation, [id], render.NESTED)
    return render.poll(poll, first.get(id, NONE))


def _services(call: Call) -> Services:
    return call.backend.services


def _number_of(found: Poll | None) -> int | None:
    return None if found is None else found.number
