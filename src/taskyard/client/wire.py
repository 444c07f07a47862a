"""The core's nouns in the worker protocol: tasks as they are read, holds, lanes and outcomes as they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from operator import attrgetter
from typing import Any, Final, assert_never, get_type_hints

import msgspec

from taskyard.client.words import given, moment
from taskyard.core.hold import Hold
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.task import Json, Task, make_task
from taskyard.core.worker import Lane

#: Numbers of organisations stay with the server; whoever holds a key is of one.
OURS: Final = 0
_WORKER: Final = "worker:"


def _task_read() -> Any:
    hints = get_type_hints(Task) | {"organisation": Any, "timeout": float | None}
    members = [(name, hint, None) for name, hint in hints.items() if name != "labels"]
    return msgspec.defstruct(
        "TaskRead", [*members, ("labels", dict[str, str], msgspec.field(default_factory=dict))]
    )


#: A task as it is read. What a newer server adds is left out, and what an older one does not say is None.
TaskRead: Final = _task_read()
_rest_of: Final = attrgetter(*(field.name for field in fields(Task)[3:]))


class AcquiredRead(msgspec.Struct):
    """The answer to a claim."""

    tasks: list[TaskRead]  # type: ignore[valid-type]


def task_of(read: Any) -> Task:
    """Return a ``TaskRead``, which is used up, as the core's."""
    if read.timeout is not None:
        read.timeout = timedelta(seconds=read.timeout)
    return make_task(read.number, read.id, OURS, *_rest_of(read))


def task_of_raw(raw: Mapping[str, Any]) -> Task:
    """Return the full task that *raw* shows."""
    return task_of(msgspec.convert(raw, TaskRead))


def lanes_json(lanes: Sequence[Lane]) -> list[dict[str, str]]:
    return [{"queue": lane.queue, "type": lane.type} for lane in lanes]


def hold_json(hold: Hold) -> dict[str, Json]:
    return {
        "id": hold.id,
        "number": hold.number,
        "claims": hold.claims,
        "worker": hold.holder.removeprefix(_WORKER),
    }


def outcome_json(outcome: Outcome) -> dict[str, Json]:
    match outcome:
        case Done(output):
            return {"kind": "done", "output": output}
        case Failed(message, code, final, traceback, after):
            said = given(message=message, code=code, final=final, traceback=traceback, after=after)
            return {"kind": "failed", **said}
        case Later(delay):
            return {"kind": "later", "delay": delay.total_seconds()}
        case Waits(tasks, events, until):
            said = given(until=until and moment(until))
            return {"kind": "waits", "tasks": list(tasks), "events": list(events), **said}
        case Stopped(message):
            return {"kind": "stopped", **given(message=message)}
        case Released(message):
            return {"kind": "released", **given(message=message)}
        case _:
            assert_never(outcome)
