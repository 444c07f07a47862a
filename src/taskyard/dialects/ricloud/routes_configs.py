"""Storage and webhook configs, and their tests: the same paths for each kind."""

from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.destination import Destination, Kind, Standing
from taskyard.dialects.ricloud import parse, render
from taskyard.dialects.ricloud.awaiting import ORIGIN, awaited
from taskyard.dialects.ricloud.identify import key_of
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.dialects.ricloud.routes_tasks import shown_task
from taskyard.http.dialect import Call, Path
from taskyard.service.destinations import Destinations
from taskyard.store.engine import Value
from taskyard.store.records import Records
from taskyard.store.values import json_text

OPEN: Final = ("pending", "processing", "suspended")


def paths() -> Sequence[Path]:
    return [path for kind in Kind for path in _of_kind(_Configs(kind), kind)]


def _of_kind(configs: "_Configs", kind: Kind) -> Sequence[Path]:
    return [
        Path(f"/configs/{kind}", {"GET": configs.all, "POST": configs.create}),
        Path(
            f"/configs/{kind}/{{number:int}}",
            {"GET": configs.get, "POST": configs.change, "DELETE": configs.delete},
        ),
        Path(f"/configs/{kind}/{{number:int}}/test", {"POST": configs.test}),
    ]


class _Configs:
    """The endpoints of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    async def create(self, call: Call) -> Response:
        body = await parse.body_of(call)
        url, given = parse.needed_text(body, "url"), self._given(call, body)

        def add(records: Records) -> Destination:
            return _service(call).add(
                records,
                call.actor,
                self._kind,
                url,
                key=key_of(records, call).number,
                origin=ORIGIN,
                **given,
            )

        made = await call.backend.write(add)
        shown = await self._tested(call, made, with_secret=True)
        return render.answer(shown, 201)

    async def change(self, call: Call) -> Response:
        body = await parse.body_of(call)
        url, given = parse.text(body, "url"), self._given(call, body)

        def change(records: Records) -> Destination:
            return _service(call).change(
                records,
                call.actor,
                self._kind,
                call.path["number"],
                url=url,
                key=key_of(records, call).number,
                origin=ORIGIN,
                **given,
            )

        changed = await call.backend.write(change)
        return render.answer(await self._tested(call, changed, with_secret=False))

    async def _tested(self, call: Call, made: Destination, *, with_secret: bool) -> dict[str, Any]:
        def look(records: Records) -> dict[str, Any]:
            found = _service(call).get(records, call.actor, self._kind, made.number)
            return render.destination(found, with_secret=with_secret)

        return await awaited(call, None, look, lambda seen: seen["state"] != Standing.NEW)

    def _given(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Return what *body* says beside the URL. Raises Bad."""
        if self._kind is Kind.WEBHOOK:
            return {}
        credentials = parse.mapping(body, "credentials")
        enabled, expiry = body.get("signed_urls_enabled"), body.get("signed_urls_expiry")
        if enabled is not None and not isinstance(enabled, bool):
            raise Bad("signed_urls_enabled", "this is true or false")
        if expiry is not None and (isinstance(expiry, bool) or not isinstance(expiry, int | float)):
            raise Bad("signed_urls_expiry", "this is a number of seconds")
        settings = {"signed_urls_enabled": enabled, "signed_urls_expiry": expiry}
        return {
            "credentials": self._sealed(call, credentials) if credentials else None,
            "settings": {name: value for name, value in settings.items() if value is not None},
        }

    def _sealed(self, call: Call, credentials: dict[str, Any]) -> str:
        seal = call.backend.settings.get("sources", {}).get("seal")
        if seal is None:
            raise Bad(
                "credentials", "this server has no secret_key to seal them with, and so cannot keep them"
            )
        sealed: str = seal.seal(json_text(credentials) or "{}")
        return sealed

    async def all(self, call: Call) -> Response:
        query = parse.query_of(call, ("state",))
        wanted: dict[str, Value] = {"state": parse.word_in(query, "state", [each.value for each in Standing])}

        def look(records: Records) -> dict[str, Any]:
            window = parse.window_of(query, lambda id: self._number(records, call, id))
            found, total = _service(call).search(records, call.actor, self._kind, wanted, window)
            shown = [render.destination(each) for each in found[: window.limit - 1]]
            return render.page(
                shown, total=total, url=f"/configs/{self._kind}", has_more=len(found) > len(shown)
            )

        return render.answer(await call.backend.read(look))

    def _number(self, records: Records, call: Call, id: str) -> int | None:
        number = parse.needed_number({"id": id}, "id")
        found = records.destinations.get(call.actor.organisation, self._kind, number)
        return None if found is None else number

    async def get(self, call: Call) -> Response:
        found = await call.backend.read(_service(call).get, call.actor, self._kind, call.path["number"])
        return render.answer(render.destination(found))

    async def delete(self, call: Call) -> Response:
        ended = await call.backend.write(
            _service(call).deactivate, call.actor, self._kind, call.path["number"]
        )
        return render.answer(render.destination(ended))

    async def test(self, call: Call) -> Response:
        """Begin a test; the answer is its task."""
        await parse.body_of(call)

        def begin(records: Records) -> str:
            key = key_of(records, call).number
            return (
                _service(call)
                .test(records, call.actor, self._kind, call.path["number"], key=key, origin=ORIGIN)
                .id
            )

        id = await call.backend.write(begin)

        def look(records: Records) -> dict[str, Any]:
            return shown_task(records, call.backend.services, call.actor, id)

        return render.answer(await awaited(call, id, look, lambda seen: seen["state"] not in OPEN), 201)


def _service(call: Call) -> Destinations:
    return call.backend.services.destinations
