"""Reading plans: from JSON to the steps of a rule, with everything that is wrong told at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from taskyard.core.durations import parse_duration
from taskyard.core.errors import Fault, Invalid
from taskyard.core.operation import CODES, Kind, Operation
from taskyard.core.rule import Act, Action, Plan, PlanStep, Retry, kind_of

#: A rack has six kinds of components, and nobody has yet needed thirty stages.
MAX_STEPS: Final = 200


# -- what each act asks for ------------------------------------------------------------------------------------------------


def _is_duration(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_duration(value) >= timedelta(0)
    except ValueError:
        return False


def _are_kinds(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(kind_of(each) is not None for each in value)


@dataclass(frozen=True, slots=True)
class _Asks:
    """What an act must be given: a timeout, a poll interval, and parameters, each with what it must be."""

    timeout: bool = False
    poll: bool = False
    required: tuple[str, ...] = ()


_ASKS: Final[Mapping[Act, _Asks]] = {
    Act.SLEEP: _Asks(required=("duration",)),
    Act.POWER: _Asks(),
    Act.VERIFY_POWER: _Asks(timeout=True, poll=True, required=("expected_status",)),
    Act.VERIFY_REACHABLE: _Asks(timeout=True, poll=True, required=("component_types",)),
    Act.READ_POWER: _Asks(timeout=True),
    Act.FIRMWARE: _Asks(),
    Act.VERIFY_FIRMWARE: _Asks(),
    Act.VERIFY_SAME_FIRMWARE: _Asks(),
    Act.BRING_UP: _Asks(),
    Act.WAIT_BRING_UP: _Asks(timeout=True, poll=True),
    Act.EXPECT: _Asks(),
    Act.DECOMMISSION: _Asks(),
    Act.WAIT_DECOMMISSION: _Asks(timeout=True, poll=True),
}

_PARAMETERS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "duration": (_is_duration, "a length of time like 30s"),
    "poll_interval": (_is_duration, "a length of time like 30s"),
    "poll_timeout": (_is_duration, "a length of time like 30s"),
    "operation": (
        lambda value: value in CODES[Operation.POWER],
        f"one of {', '.join(CODES[Operation.POWER])}",
    ),
    "expected_status": (lambda value: value in ("on", "off"), "on or off"),
    "component_types": (_are_kinds, f"a list of some of {', '.join(Kind)}"),
    "require_all": (lambda value: isinstance(value, bool), "true or false"),
}


# -- reading a plan --------------------------------------------------------------------------------------------------------


def plan_of(document: Any, pointer: str = "") -> Plan:
    """
    Return the plan that *document* writes down, as :meth:`Plan.document` does.

    Raises:
        Invalid: with a fault for each thing that is wrong, at JSON pointers below *pointer*.
    """
    reader = _Reader()
    plan = reader.plan(document, pointer)
    if reader.faults:
        raise Invalid(reader.faults[0].detail, faults=reader.faults)
    return plan


class _Reader:
    """Reads plans, gathering what is wrong; what it returns is of use only if that is nothing."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def plan(self, document: Any, pointer: str) -> Plan:
        if not isinstance(document, Mapping):
            self._wrong(pointer, "a plan is an object with steps")
            return Plan()
        steps = document.get("steps")
        if steps is None:
            return Plan()
        if not isinstance(steps, list) or len(steps) > MAX_STEPS:
            self._wrong(f"{pointer}/steps", f"steps is a list of at most {MAX_STEPS} steps")
            return Plan()
        read = [self._step(step, f"{pointer}/steps/{index}") for index, step in enumerate(steps)]
        self._check_twice(read, pointer)
        return Plan(tuple(step for step in read if step is not None))

    def _check_twice(self, steps: Sequence[PlanStep | None], pointer: str) -> None:
        seen: set[tuple[int, Kind]] = set()
        for index, step in enumerate(steps):
            if step is None:
                continue
            place = (step.stage, step.component)
            if place in seen:
                detail = f"stage {step.stage} has two steps for {step.component}; put one into another stage"
                self._wrong(f"{pointer}/steps/{index}", detail)
            seen.add(place)

    def _step(self, document: Any, pointer: str) -> PlanStep | None:
        if not isinstance(document, Mapping):
            self._wrong(pointer, "a step is an object")
            return None
        kind = kind_of(document.get("component"))
        if kind is None:
            self._wrong(f"{pointer}/component", f"the component is one of {', '.join(Kind)}")
        stage = self._whole(document.get("stage"), f"{pointer}/stage", least=1, what="the stage")
        action = self._action(document.get("action"), f"{pointer}/action")
        step = PlanStep(
            component=kind or Kind.COMPUTE,
            stage=stage,
            action=action or Action(act=Act.SLEEP),
            before=self._actions(document.get("before"), f"{pointer}/before"),
            after=self._actions(document.get("after"), f"{pointer}/after"),
            max_parallel=self._whole(
                document.get("max_parallel", 0), f"{pointer}/max_parallel", least=0, what="max_parallel"
            ),
            timeout=self._length(document.get("timeout"), f"{pointer}/timeout") or None,
            retry=self._retry(document.get("retry"), f"{pointer}/retry"),
            delay_after=self._length(document.get("delay_after"), f"{pointer}/delay_after") or timedelta(0),
        )
        return step if kind is not None else None

    def _actions(self, documents: Any, pointer: str) -> tuple[Action, ...]:
        if documents is None:
            return ()
        if not isinstance(documents, list) or len(documents) > MAX_STEPS:
            self._wrong(pointer, f"this is a list of at most {MAX_STEPS} actions")
            return ()
        read = (self._action(document, f"{pointer}/{index}") for index, document in enumerate(documents))
        return tuple(action for action in read if action is not None)

    def _action(self, document: Any, pointer: str) -> Action | None:
        if not isinstance(document, Mapping):
            self._wrong(pointer, "an action is needed here: an object with a name")
            return None
        name = document.get("name")
        if not isinstance(name, str) or name not in _ACTS:
            self._wrong(f"{pointer}/name", f"{str(name)[:60]!r} is no action; there are: {', '.join(Act)}")
            return None
        timeout = self._length(document.get("timeout"), f"{pointer}/timeout")
        poll = self._length(document.get("poll"), f"{pointer}/poll")
        action = Action(
            act=_ACTS[name],
            timeout=timeout or None,
            poll=poll or None,
            parameters=self._parameters(document, pointer),
        )
        asks = _ASKS[action.act]
        if asks.timeout and not action.timeout:
            self._wrong(f"{pointer}/timeout", f"{name} needs a timeout")
        if asks.poll and not action.poll:
            self._wrong(f"{pointer}/poll", f"{name} needs an interval at which to look")
        for parameter in asks.required:
            if parameter not in action.parameters:
                self._wrong(f"{pointer}/parameters/{parameter}", f"{name} needs the parameter {parameter}")
        return action

    def _parameters(self, document: Mapping[str, Any], pointer: str) -> dict[str, Any]:
        parameters = document.get("parameters")
        if parameters is None:
            return {}
        if not isinstance(parameters, Mapping):
            self._wrong(f"{pointer}/parameters", "parameters is an object")
            return {}
        for name, value in parameters.items():
            if name in _PARAMETERS:
                is_right, what = _PARAMETERS[name]
                if not _fits(is_right, value):
                    self._wrong(f"{pointer}/parameters/{name}", f"the parameter {name} is {what}")
        return dict(parameters)

    def _retry(self, document: Any, pointer: str) -> Retry | None:
        if document is None:
            return None
        if not isinstance(document, Mapping):
            self._wrong(pointer, "retry is an object")
            return None
        attempts = self._whole(document.get("attempts"), f"{pointer}/attempts", least=1, what="attempts")
        first = self._length(document.get("first"), f"{pointer}/first")
        if not first:
            self._wrong(f"{pointer}/first", "retry needs a first wait longer than nothing")
        factor = document.get("factor")
        if not isinstance(factor, int | float) or isinstance(factor, bool) or not 1 <= factor <= 1_000:
            self._wrong(f"{pointer}/factor", "the factor by which waits grow is a number from 1 to 1000")
            factor = 1
        most = self._length(document.get("most"), f"{pointer}/most")
        return Retry(
            attempts=attempts, first=first or timedelta(seconds=1), factor=float(factor), most=most or None
        )

    def _whole(self, value: Any, pointer: str, *, least: int, what: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 1_000_000:
            self._wrong(pointer, f"{what} is a whole number, at least {least}")
            return least
        return value

    def _length(self, value: Any, pointer: str) -> timedelta | None:
        if value is None or value == "":
            return None
        try:
            length = parse_duration(value) if isinstance(value, str) else timedelta(-1)
        except ValueError as error:
            self._wrong(pointer, str(error))
            return None
        if length < timedelta(0):
            self._wrong(pointer, "this is a length of time like 30s, not negative")
        return length

    def _wrong(self, pointer: str, detail: str) -> None:
        self.faults.append(Fault(pointer, "invalid_plan", detail))


_ACTS: Final = {act.value: act for act in Act}


def _fits(is_right: Callable[[Any], bool], value: Any) -> bool:
    try:
        return is_right(value)
    except TypeError:  # what cannot be hashed or compared is not it
        return False
