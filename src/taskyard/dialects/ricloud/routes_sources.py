"""Users, their sources, and the sessions and polls that fetch from them."""

from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.actor import Actor
from taskyard.core.source import Poll, Session, Source
from taskyard.dialects.ricloud import parse, render
from taskyard.dialects.ricloud.identify import key_of
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.http.dialect import Backend, Call
from taskyard.service.services import Services
from taskyard.store.engine import Value
from taskyard.store.records import Records
from taskyard.store.results import NONE
from taskyard.store.values import json_text

ORIGIN: Final = "ricloud"
USER_STATES: Final = ("active", "deactivated", "blocked")
SOURCE_STATES: Final = ("unvalidated", "active", "deactivated", "blocked", "locked")
SESSION_STATES: Final = ("pending", "active", "failed", "expired")
POLL_STATES: Final = ("pending", "processing", "completed")


# -- users -------------------------------------------------------------------------------------------------------------------


async def create_user(call: Call) -> Response:
    """Return the user of an identifier: 201 for a new one, 200 for one that was there."""
    body = await parse.body_of(call)
    identifier, number = parse.needed_text(body, "identifier"), parse.number(body, "key")

    def make(records: Records) -> tuple[dict[str, Any], bool]:
        key = key_of(records, call).number
        if number is not None and number not in {
            each.number for each in records.accounts.keys(call.actor.organisation)
        }:
            raise Bad("key", f"there is no key {number}")
        user, made = _services(call).sources.welcome(
            records, call.actor, identifier, key=key if number is None else number
        )
        return render.user(user), made

    shown, made = await call.backend.write(make)
    return render.answer(shown, 201 if made else 200)


async def list_users(call: Call) -> Response:
    query = parse.query_of(call, ("identifier", "key", "state"))
    wanted: dict[str, Value] = {
        "identifier": query.get("identifier"),
        "key": parse.number_in(query, "key"),
        "state": parse.word_in(query, "state", USER_STATES),
    }

    def look(records: Records) -> dict[str, Any]:
        window = parse.window_of(query, lambda id: _numbered(id, records.sources.user, call))
        found, total = _services(call).sources.search_users(records, call.actor, wanted, window)
        shown = [render.user(each) for each in found[: window.limit - 1]]
        return render.page(shown, total=total, url="/users", has_more=len(found) > len(shown))

    return render.answer(await call.backend.read(look))


async def get_user(call: Call) -> Response:
    found = await call.backend.read(_services(call).sources.user, call.actor, call.path["number"])
    return render.answer(render.user(found))


async def change_user(call: Call) -> Response:
    body = await parse.body_of(call)
    identifier = parse.text(body, "identifier")
    state = parse.text(body, "state")
    changed = await call.backend.write(
        _services(call).sources.change_user,
        call.actor,
        call.path["number"],
        identifier=identifier,
        state=state,
    )
    return render.answer(render.user(changed))


# -- sources -----------------------------------------------------------------------------------------------------------------


async def create_source(call: Call) -> Response:
    """Return the source of a user, type and identifier: 201 for a new one, 200 for one that was there."""
    body = await parse.body_of(call)
    user, type = parse.needed_number(body, "user"), parse.needed_text(body, "type")
    identifier = parse.text(body, "identifier") or ""

    def make(records: Records) -> tuple[dict[str, Any], bool]:
        source, made = _services(call).sources.add(records, call.actor, user, type, identifier)
        return _shown_sources(records, [source])[source.number], made

    shown, made = await call.backend.write(make)
    return render.answer(shown, 201 if made else 200)


async def list_sources(call: Call) -> Response:
    query = parse.query_of(call, ("user", "identifier", "type", "state"))
    wanted: dict[str, Value] = {
        "user": parse.number_in(query, "user"),
        "identifier": query.get("identifier"),
        "type": query.get("type"),
        "state": parse.word_in(query, "state", SOURCE_STATES),
    }

    def look(records: Records) -> dict[str, Any]:
        window = parse.window_of(query, lambda id: _numbered(id, records.sources.get, call))
        found, total = _services(call).sources.search(records, call.actor, wanted, window)
        shown = found[: window.limit - 1]
        rendered = _shown_sources(records, shown)
        return render.page(
            [rendered[each.number] for each in shown],
            total=total,
            url="/sources",
            has_more=len(found) > len(shown),
        )

    return render.answer(await call.backend.read(look))


async def get_source(call: Call) -> Response:
    def look(records: Records) -> dict[str, Any]:
        source = _services(call).sources.get(records, call.actor, call.path["number"])
        return _shown_sources(records, [source])[source.number]

    return render.answer(await call.backend.read(look))


async def change_source(call: Call) -> Response:
    body = await parse.body_of(call)
    state = parse.needed_text(body, "state")

    def change(records: Records) -> dict[str, Any]:
        source = _services(call).sources.change(records, call.actor, call.path["number"], state=state)
        return _shown_sources(records, [source])[source.number]

    return render.answer(await call.backend.write(change))


def _shown_sources(records: Records, sources: list[Source]) -> dict[int, dict[str, Any]]:
    """Return each of *sources* as it is shown, by number."""
    if not sources:
        return {}
    children = records.sources.children(sources[0].organisation, [source.number for source in sources])
    return {source.number: render.source(source, children.get(source.number, ())) for source in sources}


# -- sessions ----------------------------------------------------------------------------------------------------------------


async def create_session(call: Call) -> Response:
    body = await parse.body_of(call)
    payload = parse.mapping(body, "payload")
    if payload is None:
        raise Bad("payload", "this is required: what it takes to open the source")
    credentials = _sealed(call.backend, payload)
    find = _source_finder(call, body.get("source"))

    def begin(records: Records) -> Session:
        key = key_of(records, call).number
        return _services(call).sessions.begin(
            records, call.actor, find(records), credentials=credentials, key=key, origin=ORIGIN
        )

    begun = await call.backend.write(begin)
    shown = await _session_once(call, begun, lambda seen: seen["state"] != "pending")
    return render.answer(shown, 201)


def _source_finder(call: Call, given: Any) -> Callable[[Records], Source]:
    """Return what finds the source that *given*, a source's attributes or its id, speaks of; it is made where there is none."""
    services = _services(call)
    if given is None:
        raise Bad("source", "this is required: the source's user, type and identifier")
    if not isinstance(given, dict):
        number = parse.needed_number({"source": given}, "source")
        return lambda records: _known_source(records, call, number)
    if "id" in given:
        number = parse.needed_number(given, "id")
        return lambda records: _known_source(records, call, number)
    user, type = parse.needed_number(given, "user"), parse.needed_text(given, "type")
    identifier = parse.text(given, "identifier") or ""
    return lambda records: services.sources.add(records, call.actor, user, type, identifier)[0]


def _known_source(records: Records, call: Call, number: int) -> Source:
    source = records.sources.get(call.actor.organisation, number)
    if source is None:
        raise Bad("source", f"there is no source {number}")
    return source


def _sealed(backend: Backend, payload: dict[str, Any]) -> str:
    seal = backend.settings.get("sources", {}).get("seal")
    if seal is None:
        raise Bad("payload", "this server has no secret_key to seal it with, and so cannot keep it")
    sealed: str = seal.seal(json_text(payload) or "{}")
    return sealed


async def list_sessions(call: Call) -> Response:
    query = parse.query_of(call, ("source", "user", "state", "key"))
    wanted: dict[str, Value] = {name: parse.number_in(query, name) for name in ("source", "user", "key")}
    state = parse.word_in(query, "state", SESSION_STATES)

    def look(records: Records) -> dict[str, Any]:
        window = parse.window_of(query, lambda id: _number_of(records.sessions.get(_organisation(call), id)))
        found, total = _services(call).sessions.search(records, call.actor, wanted, state, window)
        shown = found[: window.limit - 1]
        return render.page(
            _shown_sessions(records, shown), total=total, url="/sessions", has_more=len(found) > len(shown)
        )

    return render.answer(await call.backend.read(look))


async def get_session(call: Call) -> Response:
    id = parse.id_in_path(call, "session")
    return render.answer(await call.backend.read(_shown_session, _services(call), call.actor, id))


async def delete_session(call: Call) -> Response:
    id = parse.id_in_path(call, "session")
    expired = await call.backend.write(_services(call).sessions.expire, call.actor, id)
    shown = await call.backend.read(_shown_sessions, [expired])
    return render.answer(shown[0])


def _shown_session(records: Records, services: Services, actor: Actor, id: str) -> dict[str, Any]:
    return _shown_sessions(records, [services.sessions.get(records, actor, id)])[0]


def _shown_sessions(records: Records, sessions: list[Session]) -> list[dict[str, Any]]:
    if not sessions:
        return []
    numbers = sorted({session.source for session in sessions})
    sources = records.sources.get_many(sessions[0].organisation, numbers)
    shown = _shown_sources(records, list(sources.values()))
    return [render.session(session, shown[session.source]) for session in sessions]


async def _session_once(
    call: Call, session: Session, enough: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    def look(records: Records) -> dict[str, Any]:
        return _shown_session(records, _services(call), call.actor, session.id)

    return await awaited(call, session.task, look, enough)


# -- polls -------------------------------------------------------------------------------------------------------------------


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
    state = parse.word_in(query, "state", POLL_STATES)
    requestor = parse.word_in(query, "requestor", ("client", "subscription"))
    automatic = requestor == "subscription" or "subscription" in query

    def look(records: Records) -> dict[str, Any]:
        organisation = _organisation(call)
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


# -- what they share ---------------------------------------------------------------------------------------------------------


async def awaited(
    call: Call,
    subject: str | None,
    look: Callable[[Records], dict[str, Any]],
    enough: Callable[[dict[str, Any]], bool],
) -> dict[str, Any]:
    """Return what *look* sees: at once, or once it is *enough* where the client lets its answer be held."""
    seconds = parse.seconds_to_await(call)
    if not seconds:
        return await call.backend.read(look)
    return await call.while_here(
        call.backend.feed.look_until(
            look, enough, organisation=call.actor.organisation, subject=subject, seconds=seconds
        )
    )


def _services(call: Call) -> Services:
    return call.backend.services


def _organisation(call: Call) -> int:
    return call.actor.organisation


def _number_of(found: Session | Poll | None) -> int | None:
    return None if found is None else found.number


def _numbered(id: str, get: Callable[[int, int], Any], call: Call) -> int | None:
    """Return the number that *id* is, if there is something of it."""
    number = parse.needed_number({"id": id}, "id")
    return number if get(_organisation(call), number) is not None else None
