"""Core nouns → this wire's JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.responses import Response

from taskyard.core.account import User
from taskyard.core.durations import format_duration
from taskyard.core.operation import Operation
from taskyard.core.report import VERSION, cut
from taskyard.core.rule import Act, Action, PlanStep, Retry, Rule
from taskyard.core.site import Drift, Provider, Rack, Tray, drift_of
from taskyard.core.task import Reason, State, Task

#: Total: what a task's state is called here. One that waited for too long counts as ended from outside; see :func:`status_of`.
STATES: Final[Mapping[State, str]] = {
    State.SCHEDULED: "Pending",
    State.READY: "Pending",
    State.SUSPENDED: "Waiting",
    State.RUNNING: "Running",
    State.SUCCEEDED: "Succeeded",
    State.FAILED: "Failed",
    State.CANCELED: "Terminated",
}
MESSAGES: Final[Mapping[State, str]] = {
    State.SCHEDULED: "Pending",
    State.READY: "Pending",
    State.SUSPENDED: "Queued: waiting for rack to become available",
    State.RUNNING: "Running",
    State.SUCCEEDED: "Succeeded",
    State.FAILED: "Failed",
    State.CANCELED: "Cancelled by user",
}
#: Total in both directions.
OPERATIONS: Final[Mapping[Operation, str]] = {
    Operation.POWER: "PowerControl",
    Operation.FIRMWARE: "FirmwareControl",
    Operation.BRING_UP: "BringUp",
    Operation.EXPECT: "InjectExpectation",
    Operation.DECOMMISSION: "Decommission",
}
ACTS: Final[Mapping[Act, str]] = {
    Act.SLEEP: "Sleep",
    Act.POWER: "PowerControl",
    Act.VERIFY_POWER: "VerifyPowerStatus",
    Act.VERIFY_REACHABLE: "VerifyReachability",
    Act.READ_POWER: "GetPowerStatus",
    Act.FIRMWARE: "FirmwareControl",
    Act.VERIFY_FIRMWARE: "VerifyFirmwareVersion",
    Act.VERIFY_SAME_FIRMWARE: "VerifyFirmwareConsistency",
    Act.BRING_UP: "BringUpControl",
    Act.WAIT_BRING_UP: "WaitBringUp",
    Act.EXPECT: "InjectExpectation",
    Act.DECOMMISSION: "DecommissionControl",
    Act.WAIT_DECOMMISSION: "WaitDecommissioned",
}


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(body), status, media_type="application/json", headers=dict(headers or {})
    )


def page(body: Sequence[Any], *, number: int, size: int, total: int, order: str | None = None) -> Response:
    """Return one page of a list; how it lies in the whole is told in a header."""
    about = {"pageNumber": number, "pageSize": size, "total": total, "orderBy": order}
    headers = {
        "X-Pagination": msgspec.json.encode(about).decode(),
        "Access-Control-Expose-Headers": "X-Pagination",
    }
    return answer(list(body), headers=headers)


def time(at: datetime) -> str:
    """
    Return *at* in RFC 3339, with no more digits than it needs.

    >>> from datetime import UTC
    >>> time(datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC))
    '2026-03-01T12:00:00.25Z'
    """
    text = at.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


# -- tasks -----------------------------------------------------------------------------------------------------------------


def status_of(task: Task) -> str:
    return "Terminated" if _waited_too_long(task) else STATES[task.state]


def message_of(task: Task) -> str:
    if _waited_too_long(task):
        return "Expired: queue timeout reached"
    if task.state is State.FAILED and task.error is not None and task.error.message.strip():
        return cut(task.error.message.strip().splitlines()[0])
    return MESSAGES[task.state]


def task(task: Task, *, with_report: bool) -> dict[str, Any]:
    description = task.input.get("description") if isinstance(task.input, dict) else None
    shown: dict[str, Any] = {
        "id": task.id,
        "status": status_of(task),
        "description": description if isinstance(description, str) else "",
        "message": message_of(task),
        "ruleId": task.rule,
        "created": time(task.created_at),
        "updated": time(task.updated_at),
    }
    # Left out rather than null: the spec says that they are times, and generated clients believe it.
    if task.started_at is not None:
        shown["started"] = time(task.started_at)
    if task.finished_at is not None:
        shown["finished"] = time(task.finished_at)
    report = report_of(task.report) if with_report else None
    if report is not None:
        shown["report"] = report
    return shown


def _waited_too_long(task: Task) -> bool:
    return task.state is State.FAILED and task.reason == Reason.EXPIRED


def report_of(report: Any) -> dict[str, Any] | None:
    """Return a report in this wire's form; None for one that is of another version, or none at all."""
    if not isinstance(report, Mapping) or report.get("version") != VERSION:
        return None
    try:
        stages = [_stage(stage) for stage in report["stages"]]
    except (KeyError, TypeError, AttributeError):
        return None
    return _known({"version": VERSION, "stages": stages, "error": report.get("error")})


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    return _known(
        {
            "number": stage["number"],
            "status": stage["status"],
            "steps": [_report_step(step) for step in stage["steps"]],
            "startedAt": stage.get("started_at"),
            "finishedAt": stage.get("finished_at"),
            "error": stage.get("error"),
        }
    )


def _report_step(step: Mapping[str, Any]) -> dict[str, Any]:
    return _known(
        {
            "componentType": step["component"],
            "status": step["status"],
            "totalComponents": step.get("total"),
            "startedAt": step.get("started_at"),
            "finishedAt": step.get("finished_at"),
            "error": step.get("error"),
        }
    )


# -- rules -----------------------------------------------------------------------------------------------------------------


def rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        **({"description": rule.description} if rule.description else {}),
        "operationType": OPERATIONS[rule.operation],
        "operationCode": rule.code,
        "ruleDefinition": {"version": "v1", "steps": [_step(step) for step in rule.plan.steps]},
        "isDefault": rule.is_default,
        "created": time(rule.created_at),
        "updated": time(rule.updated_at),
    }


def _step(step: PlanStep) -> dict[str, Any]:
    return _known(
        {
            "componentType": step.component.value,
            "stage": step.stage,
            "maxParallel": step.max_parallel,
            "timeout": "0s" if step.timeout is None else format_duration(step.timeout),
            "retry": None if step.retry is None else _retry(step.retry),
            "preOperation": [_action(action) for action in step.before] or None,
            "mainOperation": _action(step.action),
            "postOperation": [_action(action) for action in step.after] or None,
            "delayAfter": format_duration(step.delay_after),
        }
    )


def _action(action: Action) -> dict[str, Any]:
    return _known(
        {
            "name": ACTS[action.act],
            "timeout": None if action.timeout is None else format_duration(action.timeout),
            "pollInterval": None if action.poll is None else format_duration(action.poll),
            "parameters": dict(action.parameters) or None,
        }
    )


def _retry(retry: Retry) -> dict[str, Any]:
    return _known(
        {
            "maxAttempts": retry.attempts,
            "initialInterval": format_duration(retry.first),
            "backoffCoefficient": retry.factor,
            "maxInterval": None if retry.most is None else format_duration(retry.most),
        }
    )


# -- racks and trays -------------------------------------------------------------------------------------------------------


def rack(rack: Rack, trays: Sequence[Tray] | None) -> dict[str, Any]:
    """Return a rack; with its components where *trays* are given."""
    return _known(
        {
            "id": rack.id,
            "name": rack.name,
            "manufacturer": rack.manufacturer,
            "model": rack.model,
            "serialNumber": rack.serial,
            "description": rack.description,
            "nvLinkDomainIds": list(rack.domains),
            "location": {
                name: rack.location.get(name, "") for name in ("region", "datacenter", "room", "position")
            },
            "components": None if trays is None else [_component(tray) for tray in trays],
        }
    )


def _component(tray: Tray) -> dict[str, Any]:
    return _known({**_of_tray(tray), "slotId": tray.slot, "trayIdx": tray.position, "hostId": tray.host})


def validation(trays: Sequence[Tray]) -> dict[str, Any]:
    """Return how *trays* differ from what the inventory says of them; one of which nothing was seen differs in nothing."""
    drifts = [drift for each in trays if (drift := drift_of(each)) is not None]
    missing = sum(drift.is_missing for drift in drifts)
    return {
        "diffs": [_drift(drift) for drift in drifts],
        "totalDiffs": len(drifts),
        "missingCount": missing,
        "unexpectedCount": 0,  # what nobody expects is asked for by nobody
        "mismatchCount": len(drifts) - missing,
        "matchCount": len(trays) - len(drifts),
    }


_FIELDS: Final = {"component": "componentId", "serial": "serialNumber"}


def _drift(drift: Drift) -> dict[str, Any]:
    tray = drift.tray
    changes: dict[str, Any] = {name: value for name, _, value in drift.fields}
    seen = replace(tray, **changes)
    return _known(
        {
            "type": "Missing" if drift.is_missing else "Mismatch",
            "id": tray.id,
            "componentId": tray.component,
            "expected": _component(tray),
            "actual": None if drift.is_missing else _component(seen),
            "fieldDiffs": [
                {"fieldName": _FIELDS.get(name, name), "expectedValue": expected, "actualValue": actual}
                for name, expected, actual in drift.fields
            ]
            or None,
        }
    )


def tray(tray: Tray, domains: Sequence[str]) -> dict[str, Any]:
    """Return a tray of a rack that is in *domains*."""
    position = _known({"slotId": tray.slot, "trayIdx": tray.position, "hostId": tray.host})
    return {
        **_known({**_of_tray(tray), "position": position or None}),
        "nvLinkDomainId": domains[0] if domains else None,
    }


def _of_tray(tray: Tray) -> dict[str, Any]:
    return {
        "id": tray.id,
        "componentId": tray.component,
        "rackId": tray.rack,
        "type": tray.kind.value,
        "name": tray.name,
        "serialNumber": tray.serial,
        "manufacturer": tray.manufacturer,
        "model": tray.model,
        "description": tray.description,
        "firmwareVersion": tray.observed.get("firmware"),
        "bmcs": [_bmc(bmc) for bmc in tray.bmcs] or None,
        "powerState": tray.observed.get("power"),
        "operationStatus": tray.observed.get("status", "Unknown"),
        "leakStatus": tray.observed.get("leak", "Unknown"),
    }


def _bmc(bmc: Mapping[str, str]) -> dict[str, str]:
    return {"type": bmc.get("type", ""), "macAddress": bmc.get("mac", ""), "ipAddress": bmc.get("ip", "")}


# -- who -------------------------------------------------------------------------------------------------------------------


def user(user: User) -> dict[str, Any]:
    return {
        "id": user.settings["id"],
        "email": user.settings["email"],
        "firstName": user.settings["first_name"],
        "lastName": user.settings["last_name"],
        "created": time(user.created_at),
        "updated": time(user.created_at),
    }


def provider(provider: Provider, organisation: str) -> dict[str, Any]:
    return {
        "id": provider.id,
        "org": organisation,
        "orgDisplayName": organisation,
        "created": time(provider.created_at),
        "updated": time(provider.updated_at),
    }


def _known(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
