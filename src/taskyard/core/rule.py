"""Rules: stored plans, stages of steps, that an operation on a rack is resolved to; and what a plan may say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from taskyard.core.durations import format_duration, parse_duration
from taskyard.core.errors import Invalid
from taskyard.core.operation import CODES, Kind, Operation

MAX_RULE_NAME_LENGTH: Final = 128


class Act(StrEnum):
    """What a step does to its components."""

    SLEEP = "sleep"
    POWER = "power"
    VERIFY_POWER = "verify_power"
    VERIFY_REACHABLE = "verify_reachable"
    READ_POWER = "read_power"
    FIRMWARE = "firmware"
    VERIFY_FIRMWARE = "verify_firmware"
    VERIFY_SAME_FIRMWARE = "verify_same_firmware"
    BRING_UP = "bring_up"
    WAIT_BRING_UP = "wait_bring_up"
    EXPECT = "expect"
    DECOMMISSION = "decommission"
    WAIT_DECOMMISSION = "wait_decommission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    act: Act
    timeout: timedelta | None = None
    poll: timedelta | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def length(self, parameter: str, default: timedelta) -> timedelta:
        """Return the length of time that a *parameter* names."""
        text = self.parameters.get(parameter)
        return default if text is None else parse_duration(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often an action is tried, and how long is waited between: *first*, then *factor* times longer each time, up to *most*."""

    attempts: int
    first: timedelta
    factor: float
    most: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """
    What is done to all components of one kind: *before*, then *action*, then *after*, then *delay_after* is waited.

    ``max_parallel`` components at a time; 0 is all at once. ``timeout`` bounds each action.
    """

    component: Kind
    stage: int
    action: Action
    before: tuple[Action, ...] = ()
    after: tuple[Action, ...] = ()
    max_parallel: int = 0
    timeout: timedelta | None = None
    retry: Retry | None = None
    delay_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps; those of one stage run side by side, and a stage begins when the one before has ended."""

    steps: tuple[PlanStep, ...] = ()

    def stages(self) -> dict[int, list[PlanStep]]:
        """Return the steps by stage, in the order of the stages' numbers; there may be gaps."""
        stages: dict[int, list[PlanStep]] = {}
        for step in sorted(self.steps, key=lambda step: step.stage):
            stages.setdefault(step.stage, []).append(step)
        return stages

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON; :mod:`~taskyard.core.plan_reader` reads it back."""
        return {"steps": [_step_document(step) for step in self.steps]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A plan of one site, for one operation and one of its codes; at most one of those is the site's default."""

    number: int
    id: str
    organisation: int
    site: str
    name: str
    description: str
    operation: Operation
    code: str
    plan: Plan
    is_default: bool
    created_at: datetime
    updated_at: datetime


def kind_of(text: object) -> Kind | None:
    """Return the kind that *text* names, in whatever case."""
    return _KINDS.get(text.lower()) if isinstance(text, str) else None


_KINDS: Final = {kind.value.lower(): kind for kind in Kind}


def check_code(operation: Operation, code: str, pointer: str = "/code") -> None:
    """Raise Invalid unless *code* is one of *operation*'s."""
    if code not in CODES[operation]:
        codes = ", ".join(CODES[operation])
        raise Invalid(
            f"{code!r} is no code of {operation}; it has: {codes}", pointer=pointer, code="unknown_code"
        )


# -- writing a plan --------------------------------------------------------------------------------------------------------


def _step_document(step: PlanStep) -> dict[str, Any]:
    return _bare(
        {
            "component": step.component.value,
            "stage": step.stage,
            "action": _action_document(step.action),
            "before": [_action_document(action) for action in step.before],
            "after": [_action_document(action) for action in step.after],
            "max_parallel": step.max_parallel,
            "timeout": _text(step.timeout),
            "retry": None if step.retry is None else _retry_document(step.retry),
            "delay_after": _text(step.delay_after or None),
        }
    )


def _action_document(action: Action) -> dict[str, Any]:
    return _bare(
        {
            "name": action.act.value,
            "timeout": _text(action.timeout),
            "poll": _text(action.poll),
            "parameters": dict(action.parameters),
        }
    )


def _retry_document(retry: Retry) -> dict[str, Any]:
    return _bare(
        {
            "attempts": retry.attempts,
            "first": _text(retry.first),
            "factor": retry.factor,
            "most": _text(retry.most),
        }
    )


def _text(length: timedelta | None) -> str | None:
    return None if length is None else format_duration(length)


def _bare(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value not in (None, [], {})}
