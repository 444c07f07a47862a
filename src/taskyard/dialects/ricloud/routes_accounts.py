"""The organisation, and the keys that act for it."""

from typing import Any

from starlette.responses import Response

from taskyard.core.account import Key
from taskyard.core.destination import Kind
from taskyard.core.errors import NotFound
from taskyard.dialects.ricloud import parse, render
from taskyard.dialects.ricloud.identify import key_of, token_of
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.http.dialect import Call
from taskyard.store.listing import LARGEST
from taskyard.store.records import Records


async def get_organisation(call: Call) -> Response:
    return render.answer(await call.backend.read(_organisation, call))


async def change_organisation(call: Call) -> Response:
    body = await parse.body_of(call)
    name, config = parse.text(body, "name"), parse.mapping(body, "config")

    def change(records: Records) -> dict[str, Any]:
        accounts = call.backend.services.accounts
        settings = dict(accounts.organisation(records, call.actor).settings)
        for kind in Kind:
            settings |= _choice(records, call, body, kind, f"{kind}_config_default")
        if config is not None:
            settings["config"] = config
        accounts.change_organisation(records, call.actor, title=name, settings=settings)
        return _organisation(records, call)

    return render.answer(await call.backend.write(change))


def _organisation(records: Records, call: Call) -> dict[str, Any]:
    services = call.backend.services
    found = services.accounts.organisation(records, call.actor)
    storages, webhooks = (
        services.destinations.current(records, call.actor, kind) for kind in (Kind.STORAGE, Kind.WEBHOOK)
    )
    return render.organisation(found, storages, webhooks)


def _choice(
    records: Records, call: Call, body: dict[str, Any], kind: Kind, name: str
) -> dict[str, int | None]:
    """Return the config of a kind that *body* chooses under *name*, as a setting; nothing where it chooses none."""
    if name not in body:
        return {}
    number = parse.number(body, name)
    if number is not None and records.destinations.get(call.actor.organisation, kind, number) is None:
        raise Bad(name, f"there is no {kind} config {number}")
    return {kind.value: number}


# -- keys --------------------------------------------------------------------------------------------------------------------


async def get_calling_key(call: Call) -> Response:
    def look(records: Records) -> dict[str, Any]:
        return render.key(key_of(records, call), records.now, token_of(call.request))

    return render.answer(await call.backend.read(look))


async def list_keys(call: Call) -> Response:
    query = parse.query_of(call, ())

    def look(records: Records) -> dict[str, Any]:
        keys = call.backend.services.accounts.keys(records, call.actor)
        numbers = {str(key.number): key.number for key in keys}
        window = parse.window_of(query, numbers.get)
        found = [
            key
            for key in sorted(keys, key=lambda key: -key.number)
            if (window.after or 0) < key.number < (window.before or LARGEST)
        ]
        shown = found[: window.limit - 1]
        return render.page(
            [_shown(records, call, key) for key in shown],
            total=len(keys),
            url="/keys",
            has_more=len(found) > len(shown),
        )

    return render.answer(await call.backend.read(look))


async def create_key(call: Call) -> Response:
    """Make a key; its token is in this answer, and in none after it."""
    body = await parse.body_of(call)
    name = parse.text(body, "name") or "made by an API client"

    def make(records: Records) -> dict[str, Any]:
        made = call.backend.services.accounts.create_key(
            records, call.actor, name, settings=_choices(records, call, body)
        )
        return render.key(made.key, records.now, made.secret)

    return render.answer(await call.backend.write(make), 201)


async def get_key(call: Call) -> Response:
    def look(records: Records) -> dict[str, Any]:
        return _shown(records, call, _key(records, call))

    return render.answer(await call.backend.read(look))


async def change_key(call: Call) -> Response:
    body = await parse.body_of(call)

    def change(records: Records) -> dict[str, Any]:
        key = _key(records, call)
        changed = call.backend.services.accounts.set_key(
            records, call.actor, key.id, _choices(records, call, body)
        )
        return _shown(records, call, changed)

    return render.answer(await call.backend.write(change))


async def rotate_key(call: Call) -> Response:
    """Give a key another token, which is in this answer; the old one ends at once."""
    await parse.body_of(call)

    def rotate(records: Records) -> dict[str, Any]:
        made = call.backend.services.accounts.rotate_key(records, call.actor, _key(records, call).id)
        return render.key(made.key, records.now, made.secret)

    shown = await call.backend.write(rotate)
    call.backend.keys.forget()
    return render.answer(shown)


def _key(records: Records, call: Call) -> Key:
    for key in call.backend.services.accounts.keys(records, call.actor):
        if key.number == call.path["number"]:
            return key
    raise NotFound("key", call.path["number"])


def _shown(records: Records, call: Call, key: Key) -> dict[str, Any]:
    is_calling = key.id == key_of(records, call).id
    return render.key(key, records.now, token_of(call.request) if is_calling else None)


def _choices(records: Records, call: Call, body: dict[str, Any]) -> dict[str, int | None]:
    choices: dict[str, int | None] = {}
    for kind in Kind:
        choices |= _choice(records, call, body, kind, f"{kind}_config")
    return choices
