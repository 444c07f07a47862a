"""The core's nouns in the worker protocol: tasks as they are read, holds, lanes and outcomes as they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from taskyard.client.words import given, moment
from taskyard.core.hold import Hold
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.task import Error, Json, State, Task
from taskyard.core.worker import Lane

#: Numbers of organisations stay with the server; whoever holds a key is of one.
OURS: Final = 0
_WORKER: Final = "worker:"
_MOMENTS: Final = frozenset(field.name for field in fields(Task) if "datetime" in str(field.type))


def task_of(raw: Mapping[str, Any]) -> Task:
    """Read a full task. What a newer server adds is left out."""
    members: dict[str, Any] = {field.name: raw.get(field.name) for field in fields(Task)}
    for name in _MOMENTS:
        if members[name] is not None:
            members[name] = datetime.fromisoformat(str(members[name]))
    timeout, error = raw.get("timeout"), raw.get("error")
    members |= {
        "organisation": OURS,
        "state": State(raw["state"]),
        "labels": raw.get("labels") or {},
        "timeout": None if timeout is None else timedelta(seconds=timeout),
        "error": None if error is None else Error(**error),
    }
    return Task(**members)


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
