"""Tasks, snapshots and jobs as this wire shows them (contract, sections 4, 8 and 11)."""

import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.responses import Response

from taskyard.core.schedule import Schedule, Timing
from taskyard.core.task import Error, State, Task
from taskyard.service.runs import JOB, NOT_RESUMED, Standing

#: A failure by time-out has a word of its own: see :func:`state_of`.
STATES: Final[Mapping[State, str]] = {
    State.SCHEDULED: "waiting",
    State.READY: "waiting",
    State.SUSPENDED: "suspended",
    State.RUNNING: "running",
    State.SUCCEEDED: "finished",
    State.FAILED: "error",
    State.CANCELED: "canceled",
}
COMPLETE: Final = frozenset({"finished", "error", "timed_out", "canceled"})


def state_of(task: Task) -> str:
    if task.state is State.FAILED and task.error is not None and task.error.code == "timed_out":
        return "timed_out"
    return STATES[task.state]


def state_of_standing(standing: Standing) -> str:
    return "waiting" if standing.task is None else state_of(standing.task)


def answer(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def task(standing: Standing, *, is_past: bool = False) -> dict[str, Any]:
    """
    Return the Task object: a recurring one that waits shows its next run, and nothing of the last.

    *is_past*: it is history only; no scheduler has it any more.
    """
    run, schedule = standing.task, standing.schedule
    type, input = _call(standing)
    class_name, method_name = _names(type)
    shown: dict[str, Any] = {
        "id": standing.id,
        "job_id": None if run is None else run.labels.get(JOB),
        "class_name": class_name,
        "method_name": method_name,
        "args": _args(input),
        "state": state_of_standing(standing),
        "start_time": None,
        "finish_time": None,
        "scheduled_time": _time(schedule.next_at if schedule is not None else None),
        "scheduler": _scheduler(run, schedule),
        "result": None,
        "exception": None,
        "traceback": None,
        "progress": None,
        "snapshot_id": None,
    }
    if run is not None:
        shown |= _of_run(run, schedule)
    if run is not None and is_past:
        shown |= {"scheduler": None, "snapshot_id": None, "scheduled_time": _time(run.run_at)}
    return shown


def _of_run(run: Task, schedule: Schedule | None) -> dict[str, Any]:
    # A run that took too long raised nothing: its word says it all.
    failed = run.error if state_of(run) == "error" else None
    next_time = schedule.next_at if schedule is not None else None
    waits = run.is_open and run.state is not State.RUNNING
    return {
        "start_time": None if waits else _time(run.attempted_at),
        "finish_time": _time(run.finished_at),
        "scheduled_time": _time(run.run_at if run.is_open else next_time),
        "result": run.output if run.state is State.SUCCEEDED else None,
        "exception": None if failed is None else _exception(failed),
        "traceback": None if failed is None else failed.traceback,
        "progress": _progress(run),
        "snapshot_id": run.id if run.state is State.RUNNING and NOT_RESUMED not in run.labels else None,
    }


def archived(standing: Standing) -> dict[str, Any]:
    """Return a record of the history: the Task, and what only the history tells."""
    run = standing.task
    assert run is not None
    _, input = _call(standing)
    return task(standing, is_past=True) | {
        "_id": str(run.number),
        "_ns": "task_history",
        "kwargs": _kwargs(input),
        "consecutive_failures": run.failures,
        "task_type": "Task",
        "task_string": f"{run.type}({', '.join(_args(input))})",
    }


def is_sync_of(standing: Standing, repositories: frozenset[str] | None) -> bool:
    """Say whether a run synchronised a repository, one of *repositories* where those are given: its first argument names it."""
    type, input = _call(standing)
    if _names(type)[1].lstrip("_") != "sync":
        return False
    return repositories is None or _args(input)[:1] in [[each] for each in repositories]


def snapshot(standing: Standing) -> dict[str, Any]:
    """
    Return the TaskSnapshot of a running task.

    Its strings hold pickles of plain text that are made here; nothing that came over the wire is ever unpickled, and
    none of them names code.
    """
    run = standing.task
    assert run is not None
    class_name, method_name = _names(run.type)
    timeout = None if run.timeout is None else str(run.timeout)
    return {
        "_id": run.id,
        "_ns": "task_snapshots",
        "id": standing.id,
        "job_id": run.labels.get(JOB),
        "class_name": class_name,
        "method_name": method_name,
        "task_class": _pickled("Task"),
        "state": "running",
        "failure_threshold": None if standing.schedule is None else standing.schedule.failure_threshold,
        "consecutive_failures": run.failures,
        "cancel_attempts": 0 if run.cancel_requested_at is None else 1,
        "weight": run.weight,
        "callable": _pickled(run.type),
        "args": _pickled(_args(run.input)),
        "kwargs": _pickled(_kwargs(run.input)),
        "progress": _progress(run),
        "timeout": _pickled(timeout),
        "timeout_delta": _pickled(timeout),
        "schedule_threshold": _pickled("0:05:00"),
        "_progress_callback": _pickled(None),
        "start_time": _pickled(_time(run.attempted_at)),
        "finish_time": _pickled(None),
        "result": _pickled(None),
        "exception": _pickled(None),
        "traceback": _pickled(None),
    }


def job(id: str, tasks: list[Standing]) -> dict[str, Any]:
    return {"id": id, "tasks": [task(each) for each in tasks]}


def _call(standing: Standing) -> tuple[str, Any]:
    made = standing.task or (None if standing.schedule is None else standing.schedule.template)
    assert made is not None
    return made.type, made.input


def _names(type: str) -> tuple[str | None, str]:
    """Return class and bare method of a type such as ``repositories.RepoSync.sync``: a class begins with a capital."""
    parts = type.split(".")
    owner = parts[-2] if len(parts) > 1 and parts[-2][:1].isupper() else None
    return owner, parts[-1]


def _args(input: Any) -> list[str]:
    """Return positional arguments as text: the original command line joins them."""
    given = input.get("args", []) if isinstance(input, dict) else input
    if not isinstance(given, list):
        return []
    return [each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in given]


def _kwargs(input: Any) -> dict[str, Any]:
    given = input.get("kwargs") if isinstance(input, dict) else None
    return given if isinstance(given, dict) else {}


def _progress(run: Task) -> dict[str, Any] | None:
    """Return what was last reported: an object as it is, a part of a whole in the words that clients of this wire read."""
    told = run.progress
    if not isinstance(told, dict) or told.keys() != {"done", "total"}:
        return told if isinstance(told, dict) else None
    done, total = told["done"], told["total"]
    if isinstance(done, dict):
        return done
    left = total - done if _is_number(done) and _is_number(total) else None
    return {"step": run.message or "", "items_total": total, "items_left": left, "details": {}}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _exception(error: Error) -> str:
    """Return what was raised as its text alone; the traceback says of which kind it is."""
    kind, colon, text = error.message.partition(": ")
    is_told = colon and kind.isidentifier() and f"{kind}: " in (error.traceback or "")
    return text if is_told else error.message


def _scheduler(run: Task | None, schedule: Schedule | None) -> str | None:
    if schedule is not None:
        return "at" if schedule.timing is Timing.AT else "interval"
    assert run is not None
    if run.schedule is not None:
        return "interval"
    asked_for_later = run.failures == 0 and run.run_at > run.created_at
    return "at" if asked_for_later else "immediate"


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pickled(value: Any) -> str:
    return pickle.dumps(value, 0).decode("ascii")
