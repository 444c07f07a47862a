"""Sessions: leave to fetch from a source."""

from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.actor import Actor
from taskyard.core.source import Session, Source
from taskyard.dialects.ricloud import parse, render
from taskyard.dialects.ricloud.awaiting import ORIGIN, awaited
from taskyard.dialects.ricloud.identify import key_of
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.dialects.ricloud.routes_sources import shown_sources
from taskyard.http.dialect import Backend, Call
from taskyard.service.services import Services
from taskyard.store.engine import Value
from taskyard.store.records import Records
from taskyard.store.values import json_text

STATES: Final = ("pending", "active", "failed", "expired")


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
    state = parse.word_in(query, "state", STATES)

    def look(records: Records) -> dict[str, Any]:
        window = parse.window_of(
            query, lambda id: _number_of(records.sessions.get(call.actor.organisation, id))
        )
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
    shown = shown_sources(records, list(sources.values()))
    return [render.session(session, shown[session.source]) for session in sessions]


async def _session_once(
    call: Call, session: Session, enough: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    def look(records: Records) -> dict[str, Any]:
        return _shown_session(records, _services(call), call.actor, session.id)

    return await awaited(call, session.task, look, enough)


def _services(call: Call) -> Services:
    return call.backend.services


def _number_of(found: Session | None) -> int | None:
    return None if found is None else found.number
