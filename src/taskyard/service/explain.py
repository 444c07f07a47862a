"""Why a task is where it is: every cause by its name, each with what clears it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote
from typing import Final, assert_never
from urllib.parse import quote as quote_url

from taskyard.core.actor import Actor
from taskyard.core.queue import Kind, Queue, QueueSettings, RateLimit
from taskyard.core.task import Json, Reason, State, Task
from taskyard.core.worker import Lane, Worker
from taskyard.service.claims import rate_opens_at
from taskyard.service.flow import EVENT, TASK
from taskyard.service.tasks import Tasks
from taskyard.store.records import Records

#: Tasks that are named where several are the cause; the sentence says when there are more.
MOST_NAMED: Final = 10
#: Tasks ahead in the lane are counted so far: past it the number tells nobody more.
MOST_AHEAD: Final = 1_000


@dataclass(frozen=True, slots=True)
class Action:
    """What clears a cause: a call of the API, where one does, and a line for a terminal."""

    cli: str
    method: str | None = None
    path: str | None = None
    body: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """
    One reason why a task is where it is.

    Attributes:
        code: A stable word for programs.
        detail: A sentence for people.
        subject: The queue, worker, key, event or person it is about.
        tasks: Ids of the tasks it is about, at most ``MOST_NAMED``.
        until: When it ends by itself, where that is known.
        action: What ends it sooner.
    """

    code: str
    detail: str
    subject: str | None = None
    tasks: tuple[str, ...] = ()
    until: datetime | None = None
    action: Action | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where a task is, a sentence that says why, and every cause; what matters most stands first."""

    id: str
    state: State
    summary: str
    reasons: tuple[Cause, ...]


class Explain:
    """Reads only, through indexes and counts that stop: it costs the same with a million tasks in front."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def explain(self, records: Records, actor: Actor, id: str) -> Explanation:
        """Raises NotFound, Forbidden."""
        task = self._tasks.get(records, actor, id)
        reasons = tuple(_causes(records, task))
        more = len(reasons) - 1
        others = f" (and {more} more {_plural('reason', more)})" if more and task.is_open else ""
        return Explanation(
            id=task.id,
            state=task.state,
            summary=f"The task is {task.state.value}: {reasons[0].detail}{others}.",
            reasons=reasons,
        )


def _causes(records: Records, task: Task) -> Iterable[Cause]:
    match task.state:
        case State.SCHEDULED:
            return [_not_due(records, task), *_expiring(records, task), *_shut(records, task)]
        case State.SUSPENDED:
            return [*_suspended(records, task), *_expiring(records, task), *_shut(records, task)]
        case State.READY:
            return _ready(records, task)
        case State.RUNNING:
            return _running(records, task)
        case State.SUCCEEDED | State.FAILED | State.CANCELED:
            return [_ended(task)]
        case _:
            assert_never(task.state)


# -- scheduled and suspended -------------------------------------------------------------------------------------------------


def _not_due(records: Records, task: Task) -> Cause:
    run_now = _on_task(task.id, "run_now", "run-now")
    if task.run_at <= records.now:
        return Cause(code="due", detail=f"it has been due since {_at(task.run_at)} and moves on at once")
    due = f"it is not due until {_at(task.run_at)}"
    match task.reason:
        case Reason.RETRY:
            error = "" if task.error is None else f" with {task.error.code}: {task.error.message}"
            detail = f"try {task.failures} of {task.max_failures} failed{error}; {due}"
            return Cause(code="retry", detail=detail, until=task.run_at, action=run_now)
        case Reason.LATER:
            detail = f"its handler asked to be called again later; {due}"
            return Cause(code="later", detail=detail, until=task.run_at, action=run_now)
        case _:
            return Cause(code="not_due", detail=due, until=task.run_at, action=run_now)


def _suspended(records: Records, task: Task) -> Iterator[Cause]:
    if task.reason == Reason.LIMIT:
        yield _concurrency_key(records, task)
        return
    blockers = records.work.blockers(task, MOST_NAMED + 1)
    yield from _waits_for_tasks(records, task, [subject for kind, subject in blockers if kind == TASK])
    for subject in [subject for kind, subject in blockers if kind == EVENT]:
        yield _waits_for_event(subject.partition(":")[2])
    if len(blockers) > MOST_NAMED:
        yield Cause(code="waits_for_more", detail=f"it waits for more than the {MOST_NAMED} named here")
    if task.wake_at is not None:
        goes_on = "it goes on at" if not blockers else "it goes on, whatever blocks it, at"
        yield Cause(code="wakes_at", detail=f"{goes_on} {_at(task.wake_at)}", until=task.wake_at)
    elif not blockers:
        yield Cause(code="unblocked", detail="nothing blocks it any more and it moves on at once")


def _waits_for_tasks(records: Records, task: Task, ids: list[str]) -> Iterator[Cause]:
    for other in records.tasks.get_many(task.organisation, ids[:MOST_NAMED]):
        sooner = ("run_now", "run-now") if other.state is State.SCHEDULED else ("cancel", "cancel")
        yield Cause(
            code="waits_for_task",
            detail=f"it waits for task {other.id} ({other.type}), which is {other.state.value}",
            subject=other.id,
            tasks=(other.id,),
            until=other.run_at if other.state is State.SCHEDULED else None,
            action=_on_task(other.id, *sooner),
        )


def _waits_for_event(name: str) -> Cause:
    return Cause(
        code="waits_for_event",
        detail=f"it waits for the event {name}",
        subject=name,
        action=Action(f"taskyard event send {quote(name)}", "POST", "/v1/events:send", {"name": name}),
    )


def _concurrency_key(records: Records, task: Task) -> Cause:
    key = task.concurrency_key or ""
    holders = records.work.slot_holders(task.organisation, key, MOST_NAMED)
    slots = f"{task.concurrency_limit} {_plural('task', task.concurrency_limit)}"
    held = f"; {_named(holders)}" if holders else ""
    return Cause(
        code="concurrency_key",
        detail=f"only {slots} of the key {key} may be ready or running at a time{held}",
        subject=key,
        tasks=tuple(holders),
        action=_on_task(holders[0], "cancel", "cancel") if holders else None,
    )


def _expiring(records: Records, task: Task) -> Iterator[Cause]:
    if task.start_by is None or task.started_at is not None:
        return
    if task.start_by <= records.now:
        yield Cause(code="expired", detail=f"it had to start by {_at(task.start_by)}, and fails at once")
    else:
        detail = f"it fails as expired if it has not started by {_at(task.start_by)}"
        yield Cause(code="start_by", detail=detail, until=task.start_by)


# -- ready -------------------------------------------------------------------------------------------------------------------


def _shut(records: Records, task: Task) -> Iterator[Cause]:
    """Yield what keeps every task of the lane from starting."""
    queue = _queue(records, task)
    if queue.paused:
        yield _paused(task.queue)
    if queue.kind is Kind.MACHINE:
        workers = _workers_of(records, task)
        if not any(worker.state == "active" for worker in workers):
            yield _no_worker(task, workers)


def _ready(records: Records, task: Task) -> list[Cause]:
    queue = records.queues.get(task.organisation, task.queue)
    expiring = list(_expiring(records, task))
    causes = [cause for cause in expiring if cause.code == "expired"]
    causes += _shut(records, task)
    if queue is not None:
        causes += _queue_limits(records, task, queue)
    settings = _queue(records, task)
    active = [worker for worker in _workers_of(records, task) if worker.state == "active"]
    if settings.kind is Kind.MACHINE and active:
        causes += _slots(records, task, active)
    causes += _ahead(records, task, settings.kind)
    if settings.kind is Kind.HUMAN and not settings.paused:
        causes.append(_waits_for_person(task))
    if not causes:
        causes.append(Cause(code="starting", detail="a worker is free and takes it at once"))
    return causes + [cause for cause in expiring if cause.code != "expired"]


def _paused(queue: str) -> Cause:
    return Cause(
        code="queue_paused",
        detail=f"the queue {queue} is paused",
        subject=queue,
        action=Action(f"taskyard queue resume {quote(queue)}", "POST", f"{_queue_path(queue)}:resume"),
    )


def _no_worker(task: Task, draining: list[Worker]) -> Cause:
    # A worker is started where its code is, so no call of the API does it.
    start = Action("taskyard worker APP:YARD")
    what = f"tasks of type {task.type} in the queue {task.queue}"
    if not draining:
        return Cause(
            code="no_worker", detail=f"no worker that runs {what} is alive", subject=task.type, action=start
        )
    return Cause(
        code="workers_draining",
        detail=f"every worker that runs {what} is finishing and takes no more",
        subject=draining[0].id,
        action=start,
    )


def _queue_limits(records: Records, task: Task, queue: Queue) -> Iterator[Cause]:
    settings = queue.settings
    if settings.concurrency is not None:
        limit = settings.concurrency
        held = records.work.running_weight(queue.organisation, queue.name)
        if task.weight > limit:
            yield Cause(
                code="too_heavy",
                detail=f"it weighs {task.weight}, and the queue {queue.name} lets at most {limit} run at a time",
                subject=queue.name,
                action=_set_concurrency(queue.name, task.weight),
            )
        elif held + task.weight > limit:
            ids = records.work.running_ids(queue.organisation, queue.name, MOST_NAMED)
            yield Cause(
                code="queue_concurrency",
                detail=f"the queue {queue.name} lets {limit} run at a time, and {held} of it is taken; {_named(ids)}",
                subject=queue.name,
                tasks=tuple(ids),
                action=_set_concurrency(queue.name, held + task.weight),
            )
        yield from _behind_heavier(records, task, limit, held)
    opens = rate_opens_at(records, queue)
    if opens is not None and settings.rate is not None:
        period = _span(settings.rate.period)
        yield Cause(
            code="rate_limit",
            detail=(
                f"the queue {queue.name} starts {settings.rate.count} in any {period}; "
                f"the next may start at {_at(opens)}"
            ),
            subject=queue.name,
            until=opens,
            action=_set_rate(
                queue.name, RateLimit(count=2 * settings.rate.count, period=settings.rate.period)
            ),
        )


def _behind_heavier(records: Records, task: Task, limit: int, held: int) -> Iterator[Cause]:
    """A lane keeps its order: what is too heavy to start now holds up what comes behind it, however light."""
    head = records.work.head(task.organisation, task.queue, task.type, records.now)
    first = records.tasks.get_by_number(task.organisation, head[-1]) if head is not None else None
    if first is None or first.id == task.id or held + first.weight <= limit:
        return
    yield Cause(
        code="behind_heavier",
        detail=f"task {first.id} goes before it and weighs {first.weight}, and only {max(0, limit - held)} is free",
        subject=task.queue,
        tasks=(first.id,),
        action=_set_concurrency(task.queue, held + first.weight),
    )


def _slots(records: Records, task: Task, workers: list[Worker]) -> Iterator[Cause]:
    """Yield a cause when every worker of the lane is full; the first with a free slot ends the search."""
    holding: list[str] = []
    for worker in workers:
        held = records.work.held_ids(worker.organisation, worker.holder, worker.slots)
        if len(held) < worker.slots:
            return
        holding += held[:MOST_NAMED]
    slots = sum(worker.slots for worker in workers)
    ids = holding[:MOST_NAMED]
    one = _plural("worker", len(workers))
    yield Cause(
        code="workers_busy",
        detail=f"all {slots} {_plural('slot', slots)} of the {len(workers)} {one} that could run it are taken; {_named(ids)}",
        subject=workers[0].id,
        tasks=tuple(ids),
        action=Action("taskyard worker APP:YARD"),
    )


def _ahead(records: Records, task: Task, kind: Kind) -> Iterator[Cause]:
    # People take the most urgent of the whole queue, workers of one lane after another.
    types = records.work.ready_types(task.organisation, task.queue) if kind is Kind.HUMAN else [task.type]
    urgent = longer = 0
    for type in types:
        more_urgent, longer_ready = records.work.ahead(task, type, MOST_AHEAD)
        urgent, longer = urgent + more_urgent, longer + longer_ready
        if urgent + longer >= MOST_AHEAD:
            break
    if not urgent + longer:
        return
    ahead = min(urgent + longer, MOST_AHEAD)
    count = f"{ahead:,}{'+' if ahead == MOST_AHEAD else ''} {_plural('task', ahead)}"
    lane = f"the queue {task.queue}" + ("" if kind is Kind.HUMAN else f" of type {task.type}")
    why = f"{min(urgent, ahead):,} of them more urgent" if urgent else "as urgent, and ready for longer"
    yield Cause(
        code="behind",
        detail=f"{count} in {lane} {'goes' if ahead == 1 else 'go'} before it, {why}",
        subject=task.queue,
        action=_claim(task.id) if kind is Kind.HUMAN else Action("taskyard worker APP:YARD"),
    )


def _waits_for_person(task: Task) -> Cause:
    return Cause(
        code="waits_for_person",
        detail=f"nobody has taken it from the queue {task.queue} yet",
        subject=task.queue,
        action=_claim(task.id),
    )


# -- running and ended -------------------------------------------------------------------------------------------------------


def _running(records: Records, task: Task) -> Iterator[Cause]:
    holder = task.holder or ""
    if holder.startswith("worker:"):
        yield from _run_by_worker(records, task, holder.removeprefix("worker:"))
    else:
        yield _held_by_person(records, task, holder)
    if task.cancel_requested_at is not None:
        detail = f"it was asked to stop at {_at(task.cancel_requested_at)} and has not stopped yet"
        yield Cause(code="cancel_requested", detail=detail, subject=holder)
    if task.progress is not None or task.message is not None:
        said = [json.dumps(task.progress)] if task.progress is not None else []
        said += [task.message] if task.message is not None else []
        detail = f"the last that was heard of it, at {_at(task.updated_at)}: {', '.join(said)}"
        yield Cause(code="progress", detail=detail)


def _run_by_worker(records: Records, task: Task, id: str) -> Iterator[Cause]:
    worker = records.workers.get(task.organisation, id)
    name = id if worker is None else f"{worker.name or 'worker'} ({id})"
    since = _at(task.attempted_at or task.updated_at)
    ends = None
    limit = ""
    if task.timeout is not None and task.attempted_at is not None:
        ends = task.attempted_at + task.timeout
        limit = f", for {_span(task.timeout)} at most"
    alive = worker is not None and worker.lease_until >= records.now
    running = Cause(
        code="running",
        detail=f"{name} has run it since {since}{limit}",
        subject=id,
        until=ends,
        action=_on_task(task.id, "cancel", "cancel"),
    )
    if worker is not None and alive:
        yield running
        if worker.state == "draining":
            detail = f"{name} is finishing: it runs what it has to the end and takes no more"
            yield Cause(code="worker_draining", detail=detail, subject=id)
        return
    heard = "" if worker is None else f" since {_at(worker.seen_at)}"
    yield Cause(
        code="worker_silent",
        detail=f"{name} has not been heard of{heard}; the task is given to another at once",
        subject=id,
        until=None if worker is None else worker.lease_until,
        action=Action("taskyard workers", "GET", "/v1/workers"),
    )
    yield running


def _held_by_person(records: Records, task: Task, holder: str) -> Cause:
    number = holder.removeprefix("user:")
    user = records.accounts.user(task.organisation, int(number)) if number.isdecimal() else None
    who = holder if user is None else f"{user.name} ({holder})"
    until = "" if task.lease_until is None else f", and keeps it until {_at(task.lease_until)}"
    return Cause(
        code="held",
        detail=f"{who} has it since {_at(task.attempted_at or task.updated_at)}{until}",
        subject=holder,
        until=task.lease_until,
        action=Action(f"taskyard inbox release {task.id}", "POST", f"{_task_path(task.id)}:release"),
    )


def _ended(task: Task) -> Cause:
    when = _at(task.finished_at or task.updated_at)
    by = f" by {task.settled_by}" if task.settled_by is not None else ""
    match task.state:
        case State.FAILED if task.error is not None:
            detail = f"it failed at {when} with {task.error.code}: {task.error.message}"
        case State.CANCELED if task.reason == Reason.REPLACED:
            detail = f"it was canceled at {when}: another task of its key took its place"
        case State.CANCELED:
            detail = f"it was canceled at {when}"
        case _:
            detail = f"it {task.state.value} at {when}{by}"
    return Cause(
        code=task.reason or task.state.value,
        detail=detail,
        subject=task.settled_by,
        action=_on_task(task.id, "retry", "retry"),
    )


# -- words -------------------------------------------------------------------------------------------------------------------


def _queue(records: Records, task: Task) -> QueueSettings:
    queue = records.queues.get(task.organisation, task.queue)
    return QueueSettings() if queue is None else queue.settings


def _workers_of(records: Records, task: Task) -> list[Worker]:
    """Return the live workers that take tasks of this lane, those that are finishing too."""
    lane = Lane(task.queue, task.type)
    return [worker for worker in records.workers.live(task.organisation, records.now) if lane in worker.lanes]


def _on_task(id: str, move: str, command: str) -> Action:
    return Action(f"taskyard {command} {id}", "POST", f"{_task_path(id)}:{move}")


def _claim(id: str) -> Action:
    return Action(f"taskyard inbox claim {id}", "POST", f"{_task_path(id)}:claim")


def _set_concurrency(queue: str, concurrency: int) -> Action:
    return Action(
        f"taskyard queue set {quote(queue)} --concurrency {concurrency}",
        "PATCH",
        _queue_path(queue),
        {"concurrency": concurrency},
    )


def _set_rate(queue: str, rate: RateLimit) -> Action:
    seconds = rate.period.total_seconds()
    return Action(
        f"taskyard queue set {quote(queue)} --rate {rate.count}/{seconds:g}s",
        "PATCH",
        _queue_path(queue),
        {"rate": {"count": rate.count, "period": seconds}},
    )


def _task_path(id: str) -> str:
    return f"/v1/tasks/{id}"


def _queue_path(name: str) -> str:
    return f"/v1/queues/{quote_url(name, safe='')}"


def _named(ids: list[str]) -> str:
    return f"held by {', '.join(ids)}"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
