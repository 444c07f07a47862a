"""Tasks, and what hangs on them, as the API shows them."""

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from taskyard.core.task import ACTIONS, Error, Moved, State, Task
from taskyard.dialects.native.refuse import Problem
from taskyard.dialects.native.render.words import Moment, Seconds, Shown, maybe, moment, seconds
from taskyard.store.tasks import Log, Result, Step

UNSET = msgspec.UNSET
Unset = msgspec.UnsetType


class ErrorShown(Shown, frozen=True, kw_only=True):
    code: str
    message: str
    traceback: str | None | Unset = UNSET


class ResultShown(Shown, frozen=True, kw_only=True):
    id: str
    name: str
    attempt: int
    value: Any
    created_at: Moment


class StepShown(Shown, frozen=True, kw_only=True):
    name: str
    attempt: int
    output: Any
    created_at: Moment


class LogShown(Shown, frozen=True, kw_only=True):
    attempt: int
    text: str
    updated_at: Moment


class TaskShown(Shown, frozen=True, kw_only=True):
    """A task. Lists leave out `input`, `output`, `report`, the traceback and `allowed_actions` unless asked to `expand` them."""

    id: str
    number: int
    organisation: str
    type: str
    queue: str
    state: State
    reason: str | None
    priority: int
    target: str | None
    input: Any = UNSET
    labels: dict[str, str]
    key: str | None
    concurrency_key: str | None
    concurrency_limit: int
    weight: int
    run_at: Moment
    wake_at: Moment | None
    start_by: Moment | None
    created_at: Moment
    started_at: Moment | None
    attempted_at: Moment | None
    finished_at: Moment | None
    updated_at: Moment
    claims: int
    failures: int
    losses: int
    max_failures: int
    timeout: Seconds | None
    holder: str | None
    lease_until: Moment | None
    settled_by: str | None
    progress: Any
    message: str | None
    output: Any = UNSET
    error: ErrorShown | None
    parent: str | None
    schedule: str | None
    rule: str | None
    retry_of: str | None
    report: Any = UNSET
    actor: str
    origin: str
    trace: str | None
    cancel_requested_at: Moment | None
    allowed_actions: tuple[str, ...] | Unset = UNSET
    results: list[ResultShown] | Unset = UNSET
    steps: list[StepShown] | Unset = UNSET
    logs: list[LogShown] | Unset = UNSET


class MovedShown(Shown, frozen=True, kw_only=True):
    """Where a task is after an attempt of it was settled."""

    id: str
    number: int
    type: str
    queue: str
    state: State
    reason: str | None
    claims: int


class TaskAnswer(Shown, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one of many: its task, or why it was refused."""

    task: TaskShown | None = None
    problem: Problem | None = None


class MovedAnswer(Shown, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one of many: where its task is now, or why it was refused."""

    task: MovedShown | None = None
    problem: Problem | None = None


class TaskAnswers(Shown, frozen=True, kw_only=True):
    results: list[TaskAnswer]


class MovedAnswers(Shown, frozen=True, kw_only=True):
    results: list[MovedAnswer]


class TaskPage(Shown, frozen=True, kw_only=True):
    tasks: list[TaskShown]
    next_page_token: str | None


class ResultPage(Shown, frozen=True, kw_only=True):
    results: list[ResultShown]
    next_page_token: str | None = None


class StepPage(Shown, frozen=True, kw_only=True):
    steps: list[StepShown]
    next_page_token: str | None = None


class LogPage(Shown, frozen=True, kw_only=True):
    logs: list[LogShown]
    next_page_token: str | None = None


def task_shown(
    task: Task,
    organisation: str,
    *,
    lean: bool = False,
    expand: Collection[str] = (),
    results: Sequence[Result] | None = None,
    steps: Sequence[Step] | None = None,
    logs: Sequence[Log] | None = None,
) -> TaskShown:
    """
    Return *task* as it is shown.

    Args:
        organisation: Its name.
        lean: Leave out what is large, unless *expand* names it.
    """
    return TaskShown(
        id=task.id,
        number=task.number,
        organisation=organisation,
        type=task.type,
        queue=task.queue,
        state=task.state,
        reason=task.reason,
        priority=task.priority,
        target=task.target,
        input=UNSET if lean and "input" not in expand else task.input,
        labels=task.labels,  # type: ignore[arg-type]  # a Mapping, which is shown just so
        key=task.key,
        concurrency_key=task.concurrency_key,
        concurrency_limit=task.concurrency_limit,
        weight=task.weight,
        run_at=moment(task.run_at),
        wake_at=maybe(task.wake_at),
        start_by=maybe(task.start_by),
        created_at=moment(task.created_at),
        started_at=maybe(task.started_at),
        attempted_at=maybe(task.attempted_at),
        finished_at=maybe(task.finished_at),
        updated_at=moment(task.updated_at),
        claims=task.claims,
        failures=task.failures,
        losses=task.losses,
        max_failures=task.max_failures,
        timeout=seconds(task.timeout),
        holder=task.holder,
        lease_until=maybe(task.lease_until),
        settled_by=task.settled_by,
        progress=task.progress,
        message=task.message,
        output=UNSET if lean and "output" not in expand else task.output,
        error=None if task.error is None else _error(task.error, lean=lean),
        parent=task.parent,
        schedule=task.schedule,
        rule=task.rule,
        retry_of=task.retry_of,
        report=UNSET if lean and "report" not in expand else task.report,
        actor=task.actor,
        origin=task.origin,
        trace=task.trace,
        cancel_requested_at=maybe(task.cancel_requested_at),
        allowed_actions=UNSET if lean else ACTIONS[task.state],
        results=UNSET if results is None else [result_shown(each) for each in results],
        steps=UNSET if steps is None else [step_shown(each) for each in steps],
        logs=UNSET if logs is None else [log_shown(each) for each in logs],
    )


def _error(error: Error, *, lean: bool) -> ErrorShown:
    return ErrorShown(code=error.code, message=error.message, traceback=UNSET if lean else error.traceback)


def result_shown(result: Result) -> ResultShown:
    return ResultShown(
        id=result.id,
        name=result.name,
        attempt=result.attempt,
        value=result.value,
        created_at=moment(result.created_at),
    )


def step_shown(step: Step) -> StepShown:
    return StepShown(
        name=step.name, attempt=step.attempt, output=step.output, created_at=moment(step.created_at)
    )


def log_shown(log: Log) -> LogShown:
    return LogShown(attempt=log.attempt, text=log.text, updated_at=moment(log.updated_at))


def moved_shown(moved: Moved) -> MovedShown:
    return MovedShown(
        id=moved.id,
        number=moved.number,
        type=moved.type,
        queue=moved.queue,
        state=moved.state,
        reason=moved.reason,
        claims=moved.claims,
    )


def etag(body: bytes) -> str:
    """Return the entity tag of a body: it changes when anything shown does."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'
