"""Users, and their sources."""

from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.source import Source
from taskyard.dialects.ricloud import parse, render
from taskyard.dialects.ricloud.identify import key_of
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.http.dialect import Call
from taskyard.service.services import Services
from taskyard.store.engine import Value
from taskyard.store.records import Records

USER_STATES: Final = ("active", "deactivated", "blocked")
SOURCE_STATES: Final = ("unvalidated", "active", "deactivated", "blocked", "locked")


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
        return shown_sources(records, [source])[source.number], made

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
        rendered = shown_sources(records, shown)
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
        return shown_sources(records, [source])[source.number]

    return render.answer(await call.backend.read(look))


async def change_source(call: Call) -> Response:
    body = await parse.body_of(call)
    state = parse.needed_text(body, "state")

    def change(records: Records) -> dict[str, Any]:
        source = _services(call).sources.change(records, call.actor, call.path["number"], state=state)
        return shown_sources(records, [source])[source.number]

    return render.answer(await call.backend.write(change))


def shown_sources(records: Records, sources: list[Source]) -> dict[int, dict[str, Any]]:
    """Return each of *sources* as it is shown, by number."""
    if not sources:
        return {}
    children = records.sources.children(sources[0].organisation, [source.number for source in sources])
    return {source.number: render.source(source, children.get(source.number, ())) for source in sources}


def _services(call: Call) -> Services:
    return call.backend.services


def _numbered(id: str, get: Callable[[int, int], Any], call: Call) -> int | None:
    """Return the number that *id* is, if there is something of it."""
    number = parse.needed_number({"id": id}, "id")
    return number if get(call.actor.organisation, number) is not None else None
