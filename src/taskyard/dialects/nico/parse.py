"""This wire's paths, queries and bodies → core nouns; what is wrong is refused in the wire's words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from taskyard.core.errors import Invalid
from taskyard.core.operation import Kind, Operation
from taskyard.core.plan_reader import plan_of
from taskyard.core.rule import Plan, kind_of
from taskyard.dialects.nico.bodies import (
    ActionBody,
    CreateRuleBody,
    DefinitionBody,
    OperationBody,
    RackFilterBody,
    StepBody,
    TrayFilterBody,
    UpdateRuleBody,
)
from taskyard.dialects.nico.refuse import PARSE_FAILED, Said
from taskyard.dialects.nico.render import ACTS, OPERATIONS
from taskyard.http.dialect import Call
from taskyard.store.sites import TrayFilter

Body = TypeVar("Body", bound=msgspec.Struct)

DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100
#: Where the product of page and size still fits a signed 32-bit number.
MAX_PAGE_NUMBER: Final = 21_474_836
BLANK: Final = "cannot be blank"
NOT_A_UUID: Final = "must be a valid UUID"
NOT_A_NAME: Final = "must not hold a NUL character"
MAX_SLOT: Final = 2**31 - 1
#: What a rule may be made for here; others are the server's own.
RULE_OPERATIONS: Final = {OPERATIONS[each]: each for each in (Operation.POWER, Operation.FIRMWARE)}
TRAY_KINDS: Final = (Kind.COMPUTE, Kind.NVSWITCH, Kind.POWER_SHELF)
POWER_CODES: Final[Mapping[str, str]] = {
    "on": "power_on",
    "off": "power_off",
    "cycle": "restart",
    "forceoff": "force_power_off",
    "forcecycle": "force_restart",
}
_ACTS: Final = {name: act.value for act, name in ACTS.items()}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
#: As Go's ParseBool reads them.
_TRUTHS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


# -- the path and the query ------------------------------------------------------------------------------------------------


def uuid_of(text: str) -> str | None:
    """Return *text* as a UUID is written; None when it is none."""
    try:
        return str(UUID(text)) if len(text) in (32, 36) else None
    except ValueError:
        return None


def path_id(call: Call, noun: str, message: str = "Invalid {} ID specified in URL") -> str:
    id = uuid_of(call.path["id"])
    if id is None:
        raise Said(400, message.format(noun))
    return id


def known_query(call: Call, *names: str) -> None:
    """Refuse parameters that are not among *names*, and what no text of ours can hold."""
    for name, value in call.request.query_params.multi_items():
        if name not in names:
            raise Said(400, f"Unknown query parameter specified in request: {name}")
        if "\0" in value:
            raise Said(400, PARSE_FAILED)


def query_site(call: Call) -> str:
    site = call.query.get("siteId", "")
    if not site:
        raise Said(400, "siteId query parameter is required")
    return site


def site_id(text: str) -> str:
    id = uuid_of(text)
    if id is None:
        raise Said(400, "Failed to validate Site specified in request: invalid ID")
    return id


def truth(call: Call, name: str) -> bool:
    text = call.query.get(name)
    if text is None or text == "":
        return False
    if text not in _TRUTHS:
        raise Said(400, PARSE_FAILED)
    return _TRUTHS[text]


@dataclass(frozen=True, slots=True)
class Page:
    number: int
    size: int
    order: str | None = None

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


def page(call: Call, orders: Sequence[str] = ()) -> Page:
    """Return which page is asked for; *orders* are what may be given as ``orderBy``."""
    number = _whole(call, "pageNumber", 1)
    size = _whole(call, "pageSize", DEFAULT_PAGE_SIZE)
    order = call.query.get("orderBy") or None
    wrong: dict[str, str] = {}
    if not 1 <= number <= MAX_PAGE_NUMBER:
        wrong["pageNumber"] = f"must be between 1 and {MAX_PAGE_NUMBER}"
    if not 1 <= size <= MAX_PAGE_SIZE:
        wrong["pageSize"] = f"must be between 1 and {MAX_PAGE_SIZE}"
    if order is not None and order not in orders:
        wrong["orderBy"] = "must be a valid value"
    if wrong:
        raise Said(400, "Failed to validate pagination request data", wrong)
    return Page(number, size, order)


def _whole(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, "")
    if not text:
        return default
    if not _WHOLE.fullmatch(text):
        raise Said(400, "Failed to parse request pagination data")
    return int(text)


# -- bodies ----------------------------------------------------------------------------------------------------------------


async def body(call: Call, type: type[Body]) -> Body:
    """Return the body; unknown members are passed over, as the wire does."""
    try:
        return msgspec.json.decode(await call.body() or b"{}", type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Said(400, PARSE_FAILED) from None


# -- operations ------------------------------------------------------------------------------------------------------------


def common_faults(asked: OperationBody) -> dict[str, str]:
    """Return what is wrong with what every request for an operation says."""
    wrong: dict[str, str] = {}
    if not asked.site_id:
        wrong["siteId"] = BLANK
    if asked.rule_id and uuid_of(asked.rule_id) is None:
        wrong["ruleId"] = NOT_A_UUID
    return wrong


def power_faults(asked: OperationBody) -> dict[str, str]:
    wrong = common_faults(asked)
    if not asked.state:
        wrong["state"] = BLANK
    elif asked.state not in POWER_CODES:
        wrong["state"] = f"must be one of {', '.join(POWER_CODES)}"
    return wrong


def firmware_faults(asked: OperationBody) -> dict[str, str]:
    wrong = common_faults(asked)
    if asked.targets and not all(asked.targets):
        wrong["targets"] = BLANK
    elif asked.targets and not asked.version:
        wrong["version"] = "is required when targets are given"
    secrets = asked.authentication_data
    if secrets is not None and (secrets.shared is None) == (secrets.per_component is None):
        wrong["authenticationData"] = "must have exactly one of shared and perComponent"
    return wrong


def rack_filter_faults(filter: RackFilterBody | None) -> dict[str, str]:
    names = (filter.names or ()) if filter is not None else ()
    return {"filter.names": NOT_A_NAME} if any("\0" in name for name in names) else {}


def tray_filter_faults(filter: TrayFilterBody | None) -> dict[str, str]:
    if filter is None:
        return {}
    wrong: dict[str, str] = {}
    by_rack = bool(filter.rack_id or filter.rack_name)
    if filter.rack_id and filter.rack_name:
        wrong["rackId"] = "cannot be given together with rackName"
    elif filter.rack_id and uuid_of(filter.rack_id) is None:
        wrong["rackId"] = NOT_A_UUID
    if by_rack and (filter.ids or filter.component_ids):
        wrong["ids"] = "cannot be given together with a rack"
    if filter.ids and any(uuid_of(id) is None for id in filter.ids):
        wrong["ids"] = NOT_A_UUID
    if filter.type and filter.type not in TRAY_KINDS:
        wrong["type"] = f"must be one of {', '.join(TRAY_KINDS)}"
    if filter.component_ids and not filter.type:
        wrong["componentIds"] = "need type"
    if filter.slot_id is not None and not 0 <= filter.slot_id <= MAX_SLOT:
        wrong["slotId"] = f"must be between 0 and {MAX_SLOT}"
    elif filter.slot_id is not None and not by_rack:
        wrong["slotId"] = "needs rackId or rackName"
    if any("\0" in text for text in (filter.rack_name or "", *(filter.component_ids or ()))):
        wrong["rackName" if filter.rack_name else "componentIds"] = NOT_A_NAME
    return {f"filter.{name}": detail for name, detail in wrong.items()}


def tray_filter(filter: TrayFilterBody | None, racks: Sequence[str] | None) -> TrayFilter:
    """Return what a filter without faults asks for; *racks* are the ids of the racks it names, None for any."""
    if filter is None:
        return TrayFilter()
    return TrayFilter(
        ids=[str(UUID(id)) for id in filter.ids] if filter.ids else None,
        racks=racks,
        kind=kind_of(filter.type) if filter.type else None,
        components=filter.component_ids or None,
        slot=filter.slot_id,
    )


def query_filter(call: Call) -> TrayFilterBody:
    """Return a filter that stands in the query; there the ids' names are in the singular, and may be repeated."""
    multi = call.request.query_params.getlist
    slot = call.query.get("slotId", "")
    if slot and not _WHOLE.fullmatch(slot):
        raise Said(400, PARSE_FAILED)
    return TrayFilterBody(
        rack_id=call.query.get("rackId") or None,
        rack_name=call.query.get("rackName") or None,
        type=call.query.get("type") or None,
        component_ids=[id for id in multi("componentId") if id] or None,
        ids=[id for id in multi("id") if id] or None,
        slot_id=int(slot) if slot else None,
    )


# -- rules -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RuleWanted:
    site: str
    name: str
    description: str
    operation: Operation
    code: str
    plan: Plan


def rule_wanted(asked: CreateRuleBody) -> RuleWanted:
    """Raises Said, whose message is what is wrong; ``data`` stays null for rules."""
    if not asked.site_id:
        raise Said(400, "siteId is required")
    if not asked.name:
        raise Said(400, "name is required")
    if not asked.operation_type:
        raise Said(400, "operationType is required")
    operation = rule_operation(asked.operation_type)
    if not asked.operation_code:
        raise Said(400, "operationCode is required")
    if asked.rule_definition is None:
        raise Said(400, "ruleDefinition is required")
    return RuleWanted(
        site=asked.site_id,
        name=asked.name,
        description=asked.description or "",
        operation=operation,
        code=asked.operation_code,
        plan=plan(asked.rule_definition),
    )


def rule_operation(text: str) -> Operation:
    if text not in RULE_OPERATIONS:
        raise Said(400, f"operationType must be one of [{', '.join(RULE_OPERATIONS)}]")
    return RULE_OPERATIONS[text]


def check_rule_change(asked: UpdateRuleBody) -> None:
    if not asked.site_id:
        raise Said(400, "siteId is required")
    if asked.name is None and asked.description is None and asked.rule_definition is None:
        raise Said(400, "at least one of name, description, ruleDefinition must be provided")
    if asked.name == "":
        raise Said(400, "name cannot be empty when provided")


def plan(definition: DefinitionBody) -> Plan:
    """Return the plan that *definition* writes down. Raises Said with the first thing that is wrong."""
    if definition.version not in (None, "", "v1"):
        raise Said(400, "ruleDefinition version must be v1")
    try:
        return plan_of({"steps": [_step(step) for step in definition.steps or []]})
    except Invalid as error:
        raise Said(400, f"invalid ruleDefinition: {error.faults[0].pointer}: {error}") from None


def _step(step: StepBody) -> dict[str, Any]:
    retry = step.retry
    return {
        "component": step.component_type,
        "stage": step.stage,
        "action": None if step.main_operation is None else _action(step.main_operation),
        "before": [_action(action) for action in step.pre_operation or []],
        "after": [_action(action) for action in step.post_operation or []],
        "max_parallel": step.max_parallel or 0,
        "timeout": step.timeout,
        "delay_after": step.delay_after,
        "retry": None
        if retry is None
        else {
            "attempts": retry.max_attempts,
            "first": retry.initial_interval,
            "factor": retry.backoff_coefficient,
            "most": retry.max_interval,
        },
    }


def _action(action: ActionBody) -> dict[str, Any]:
    return {
        "name": _ACTS.get(action.name or "", action.name),
        "timeout": action.timeout,
        "poll": action.poll_interval,
        "parameters": action.parameters,
    }
