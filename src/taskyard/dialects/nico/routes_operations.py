"""What is done to racks and trays: power, firmware, bring-up. Each makes a task for every rack it concerns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.responses import Response

from taskyard.core.errors import Invalid, NotFound
from taskyard.core.operation import Operation
from taskyard.core.task import Task
from taskyard.dialects.nico import parse, render
from taskyard.dialects.nico.bodies import OperationBody, RacksBody, TraysBody
from taskyard.dialects.nico.gate import admit, site_of
from taskyard.dialects.nico.refuse import Said
from taskyard.dialects.nico.routes_sites import find_trays
from taskyard.dialects.nico.settings import settings_of
from taskyard.http.dialect import Call
from taskyard.service.operations import Wanted
from taskyard.store.records import Records
from taskyard.store.sites import RackFilter

#: Requests for many say it more plainly than those for one.
BATCH_INVALID: Final = "Failed to validate request data"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of operation: what it is, what may be wrong with a request for it, and the words the wire has for that."""

    operation: Operation
    faults: Callable[[OperationBody], Mapping[str, str]]
    invalid: str
    code: Callable[[OperationBody], str]
    description: Callable[[OperationBody, str], str]


_POWER_WORDS: Final = {
    "on": "power on",
    "off": "power off",
    "cycle": "power cycle",
    "forceoff": "force power off",
    "forcecycle": "force power cycle",
}
POWER: Final = _Kind(
    Operation.POWER,
    parse.power_faults,
    "Failed to validate power control request data",
    lambda asked: parse.POWER_CODES[asked.state or ""],
    lambda asked, what: f"API {_POWER_WORDS[asked.state or '']} {what.split()[0]}",
)
FIRMWARE: Final = _Kind(
    Operation.FIRMWARE,
    parse.firmware_faults,
    "Failed to validate firmware update request data",
    lambda asked: "upgrade",
    lambda asked, what: f"API firmware update {what.split()[0]}",
)
BRING_UP: Final = _Kind(
    Operation.BRING_UP,
    parse.common_faults,
    "Failed to validate bring up request data",
    lambda asked: "bring_up",
    lambda asked, what: (
        asked.description or (f"API bring up {what}" if " " in what else "API batch bring up Racks")
    ),
)


# -- the endpoints ---------------------------------------------------------------------------------------------------------


async def rack_power(call: Call) -> Response:
    return await _on_rack(call, POWER)


async def rack_firmware(call: Call) -> Response:
    return await _on_rack(call, FIRMWARE)


async def rack_bring_up(call: Call) -> Response:
    return await _on_rack(call, BRING_UP)


async def racks_power(call: Call) -> Response:
    return await _on_racks(call, POWER)


async def racks_firmware(call: Call) -> Response:
    return await _on_racks(call, FIRMWARE)


async def racks_bring_up(call: Call) -> Response:
    return await _on_racks(call, BRING_UP)


async def tray_power(call: Call) -> Response:
    return await _on_tray(call, POWER)


async def tray_firmware(call: Call) -> Response:
    return await _on_tray(call, FIRMWARE)


async def trays_power(call: Call) -> Response:
    return await _on_trays(call, POWER)


async def trays_firmware(call: Call) -> Response:
    return await _on_trays(call, FIRMWARE)


# -- one, and many ---------------------------------------------------------------------------------------------------------


async def _on_rack(call: Call, kind: _Kind) -> Response:
    await admit(call)
    asked = await parse.body(call, OperationBody)
    _check(kind.faults(asked), kind.invalid)
    id = parse.uuid_of(call.path["id"])
    if id is None:
        raise Said(400, "Invalid Rack ID specified in URL")
    return await _begin_on_racks(call, kind, asked, RackFilter(ids=[id]), f"Rack {id}")


async def _on_racks(call: Call, kind: _Kind) -> Response:
    """Without names, all racks of the site."""
    asked = await parse.body(call, RacksBody)
    _check({**kind.faults(asked), **parse.rack_filter_faults(asked.filter)}, BATCH_INVALID)
    await admit(call)
    names = asked.filter.names if asked.filter is not None else None
    return await _begin_on_racks(call, kind, asked, RackFilter(names=names or None), "Rack")


async def _begin_on_racks(
    call: Call, kind: _Kind, asked: OperationBody, racks: RackFilter, what: str
) -> Response:
    wanted = _wanted(call, kind, asked, what)

    def begin(records: Records) -> list[Task]:
        site = site_of(records, call, asked.site_id or "")
        return call.backend.services.operations.on_racks(records, call.actor, site, wanted, racks)

    return await _begun(call, begin)


async def _on_tray(call: Call, kind: _Kind) -> Response:
    await admit(call)
    id = parse.path_id(call, "Tray", "Invalid {} ID in URL")
    asked = await parse.body(call, OperationBody)
    _check(kind.faults(asked), kind.invalid)
    wanted = _wanted(call, kind, asked, "Tray")
    services = call.backend.services

    def begin(records: Records) -> list[Task]:
        site = site_of(records, call, asked.site_id or "")
        tray = services.sites.tray(records, site, id)
        return services.operations.on_trays(records, call.actor, site, wanted, [tray])

    return await _begun(call, begin)


async def _on_trays(call: Call, kind: _Kind) -> Response:
    """Without a filter, all trays of the site. A slot that no tray stands in is no mistake: nothing is done."""
    asked = await parse.body(call, TraysBody)
    filter = asked.filter
    _check({**kind.faults(asked), **parse.tray_filter_faults(filter)}, BATCH_INVALID)
    await admit(call)
    wanted = _wanted(call, kind, asked, "Tray")

    def begin(records: Records) -> list[Task]:
        site = site_of(records, call, asked.site_id or "")
        trays = find_trays(records, call, site, filter)
        if not trays and (filter is None or filter.slot_id is None):
            raise NotFound("tray", "that the filter asks for")
        found = {tray.id for tray in trays}
        for id in (filter.ids or ()) if filter is not None else ():
            if parse.uuid_of(id) not in found:
                raise NotFound("tray", id)
        return call.backend.services.operations.on_trays(records, call.actor, site, wanted, trays)

    return await _begun(call, begin)


async def _begun(call: Call, begin: Callable[[Records], Sequence[Task]]) -> Response:
    try:
        tasks = await call.backend.write(begin)
    except Invalid as refusal:
        if refusal.code == "unknown_rule":
            raise Said(404, "Rule not found") from None
        raise
    return render.answer({"taskIds": [task.id for task in tasks]})


def _check(wrong: Mapping[str, str], message: str) -> None:
    if wrong:
        raise Said(400, message, wrong)


def _wanted(call: Call, kind: _Kind, asked: OperationBody, what: str) -> Wanted:
    """Return what a request without faults asks for. Raises Said (412): it carries secrets, and there is no key to seal them."""
    credentials = None
    if kind.operation is Operation.FIRMWARE and asked.authentication_data is not None:
        seal = settings_of(call.backend).seal
        if seal is None:
            raise Said(
                412, "Authentication data cannot be accepted: no secret_key to seal it with is configured"
            )
        credentials = seal.seal(msgspec.json.encode(asked.authentication_data).decode())
    return Wanted(
        operation=kind.operation,
        code=kind.code(asked),
        description=kind.description(asked, what),
        rule=parse.uuid_of(asked.rule_id) if asked.rule_id else None,
        version=asked.version if kind.operation is Operation.FIRMWARE else None,
        targets=tuple(asked.targets or ()) if kind.operation is Operation.FIRMWARE else (),
        credentials=credentials,
        heedless=bool(asked.override_readiness_check),
        origin="nico",
    )
