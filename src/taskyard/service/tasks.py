"""Submit, cancel, retry and read tasks."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Fault, Invalid, NotFound, TaskyardError, WrongState
from taskyard.core.limits import MAX_KEY_LENGTH, MAX_PAYLOAD_BYTES, check_new_task, check_text
from taskyard.core.queue import QueueSettings
from taskyard.core.task import (
    ACTIONS,
    STATES,
    Error,
    Moved,
    NewTask,
    OnConflict,
    Reason,
    State,
    Task,
    make_task,
)
from taskyard.core.times import from_micros, to_micros
from taskyard.service.flow import (
    EVENT,
    TASK,
    after_ends,
    answer_event,
    go_on,
    make_ready,
    take_slots,
    tell_ready,
)
from taskyard.service.payloads import fitting
from taskyard.store.engine import Duplicate, Value
from taskyard.store.records import Records
from taskyard.store.tasks import MAX_FILTER_LABELS, Log, Result, Step, TaskFilter, error_text
from taskyard.store.values import json_text, length, micros

#: How many of the tasks that are not there a sentence names; the faults name them all.
MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Submission:
    """One task to submit, and who asks for it."""

    actor: Actor
    new: NewTask


class Tasks:
    """
    Args:
        new_id: Makes the ids of tasks: UUIDv7 text, so that ids sort by the time they were made.
        max_payload_bytes: The largest input that is accepted, as JSON.
    """

    def __init__(self, new_id: Callable[[], str], *, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._new_id = new_id
        self._max_payload_bytes = max_payload_bytes

    # -- submit ------------------------------------------------------------------------------------------------------------

    def submit(self, records: Records, submissions: Sequence[Submission]) -> list[Task | Exception]:
        """
        Submit many: the answer for each, in order, is its task or the refusal that concerns it alone.

        A task whose key an open task has is answered by its ``on_conflict``. Queues that do not exist are made.

        Refusals:
            Forbidden, Invalid, TooLarge, Conflict.
        """
        return self.submit_soon(records, submissions)()

    def submit_soon(
        self, records: Records, submissions: Sequence[Submission]
    ) -> Callable[[], list[Task | Exception]]:
        """Do the same, but give the answers when they are asked for, at the latest after the commit: none of it waits for them."""
        rounds = _rounds(submissions)
        if len(rounds) == 1:
            return self._submit(records, submissions)
        answers: dict[int, Task | Exception] = {}
        # What repeats a key or an id is submitted after what it repeats, as if it had come later.
        for positions in rounds:
            some = self._submit(records, [submissions[position] for position in positions])
            answers.update(zip(positions, some(), strict=True))
        return lambda: [answers[position] for position in range(len(submissions))]

    def _submit(
        self, records: Records, submissions: Sequence[Submission]
    ) -> Callable[[], list[Task | Exception]]:
        """Submit many of which no two have the same key or id."""
        answers: dict[int, Task | Exception] = {}
        rows: dict[int, dict[str, Value]] = {}
        queues: dict[tuple[int, str], int] = {}
        for position, submission in enumerate(submissions):
            try:
                row = self._row(records, submission, queues)
                self._check_blockers(records, submission)
                taken = self._taken(records, submission)
                if taken is None:
                    rows[position] = row
                else:
                    answers[position] = taken
            except TaskyardError as refusal:
                answers[position] = refusal
        blockers = self._blockers(records, submissions, rows)
        self._limit(records, submissions, rows)
        if blockers or any(_needs_its_number(submissions[position].new) for position in rows):
            numbers = self._insert_now(records, submissions, rows, answers)
            self._hang_on(records, submissions, rows, blockers, numbers)
            inserted: Callable[[], Mapping[str, int]] = partial(dict, numbers)
        else:
            inserted = records.tasks.insert_soon(list(rows.values()))
        for position, row in rows.items():
            self._tell_submitted(records, submissions[position], row)

        def answered() -> list[Task | Exception]:
            numbers, now = inserted(), records.now
            for position, row in rows.items():
                answers[position] = _task_of(submissions[position], row, numbers[str(row["id"])], now)
            return [answers[position] for position in range(len(submissions))]

        return answered

    def _insert_now(
        self,
        records: Records,
        submissions: Sequence[Submission],
        rows: dict[int, dict[str, Value]],
        answers: dict[int, Task | Exception],
    ) -> dict[str, int]:
        """Insert tasks and return their numbers by id; what does not go in is taken from *rows* and answered."""
        wanted = list(rows.values())
        named = any(submissions[position].new.id is not None for position in rows)
        numbers = self._insert_named(records, wanted) if named else records.tasks.insert(wanted)
        for position, row in list(rows.items()):
            if row["id"] not in numbers:  # another process took the key since we looked, or the id was taken
                answers[position] = self._outrun(records, submissions[position])
                del rows[position]
        return numbers

    def _hang_on(
        self,
        records: Records,
        submissions: Sequence[Submission],
        rows: Mapping[int, dict[str, Value]],
        blockers: Mapping[int, Sequence[str]],
        numbers: Mapping[str, int],
    ) -> None:
        """Write the labels and blockers of what went in."""
        labels: dict[int, list[tuple[int, Mapping[str, str]]]] = defaultdict(list)
        blocks: list[tuple[int, str, str]] = []
        for position, row in rows.items():
            submission, number = submissions[position], numbers[str(row["id"])]
            if submission.new.labels:
                labels[submission.actor.organisation].append((number, submission.new.labels))
            blocks += [(number, TASK, each) for each in blockers.get(position, ())]
        for organisation, each in labels.items():
            records.tasks.label(organisation, each)
        if blocks:
            records.work.block(blocks)

    def _tell_submitted(self, records: Records, submission: Submission, row: Mapping[str, Value]) -> None:
        organisation, new = submission.actor.organisation, submission.new
        records.events.append(
            "task.submitted",
            organisation=organisation,
            subject=str(row["id"]),
            queue=new.queue,
            type=new.type,
            at=records.time,
            data={"state": row["state"]},
        )
        if row["state"] == State.READY.value:
            tell_ready(records, organisation, new.queue)
        elif row["state"] == State.SCHEDULED.value:
            records.news.add("due")

    def _insert_named(self, records: Records, rows: Sequence[dict[str, Value]]) -> dict[str, int]:
        """Insert tasks of which some come with an id; one whose id is taken, anywhere on the server, does not go in."""
        try:
            with records.connection.savepoint():
                return records.tasks.insert(rows)
        except Duplicate:
            if len(rows) == 1:
                return {}
            numbers: dict[str, int] = {}
            for row in rows:
                numbers.update(self._insert_named(records, [row]))
            return numbers

    def submit_one(self, records: Records, actor: Actor, new: NewTask) -> Task:
        """Submit one; raises what :meth:`submit` answers."""
        [answer] = self.submit(records, [Submission(actor, new)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _row(
        self, records: Records, submission: Submission, queues: dict[tuple[int, str], int]
    ) -> dict[str, Value]:
        actor, new = submission.actor, submission.new
        actor.require(Permission.SUBMIT)
        check_new_task(new)
        input = fitting("the input", new.input, self._max_payload_bytes, pointer="/input")
        report = fitting("the report", new.report, self._max_payload_bytes, pointer="/report")
        known = self._known_queue(records, actor.organisation, new.queue, queues)
        if new.start_by is not None and new.start_by <= max(records.now, new.run_at or records.now):
            raise Invalid(
                "start_by is not after the time the task may start", pointer="/start_by", code="out_of_range"
            )
        delayed = new.run_at is not None and new.run_at > records.now
        for pointer, id in (("/parent", new.parent), ("/retry_of", new.retry_of)):
            if id is not None and records.tasks.get(actor.organisation, id) is None:
                raise Invalid(f"there is no task {id}", pointer=pointer, code="unknown_task")
        if new.id is not None and records.tasks.get(actor.organisation, new.id) is not None:
            raise _id_taken(new.id)
        state, reason = (State.SCHEDULED, Reason.DELAYED) if delayed else (State.READY, None)
        if known is None:
            known = self._queue(records, actor.organisation, new.queue, queues)
        return {
            "id": new.id or self._new_id(),
            "organisation": actor.organisation,
            "type": new.type,
            "queue": new.queue,
            "state": state.value,
            "reason": reason,
            "priority": new.priority,
            "target": new.target,
            "input": input,
            "labels": json_text(dict(new.labels)) if new.labels else None,
            "key": new.key,
            "concurrency_key": new.concurrency_key,
            "concurrency_limit": new.concurrency_limit,
            "weight": new.weight,
            "run_at": micros(new.run_at or records.time),
            "wake_at": None,
            "start_by": micros(new.start_by),
            "created_at": micros(records.time),
            "max_failures": new.max_failures or known,
            "timeout": length(new.timeout),
            "parent": new.parent,
            "schedule": new.schedule,
            "rule": new.rule,
            "retry_of": new.retry_of,
            "report": report,
            "actor": actor.identity,
            "origin": new.origin,
            "trace": new.trace,
        }

    def _known_queue(
        self, records: Records, organisation: int, name: str, queues: dict[tuple[int, str], int]
    ) -> int | None:
        """Return the default of ``max_failures`` of a queue that there is; see :meth:`_queue`."""
        place = (organisation, name)
        if place not in queues:
            queue = records.queues.get(organisation, name)
            if queue is None:
                return None
            queues[place] = queue.settings.max_failures
        return queues[place]

    def _queue(
        self, records: Records, organisation: int, name: str, queues: dict[tuple[int, str], int]
    ) -> int:
        """
        Return the default of ``max_failures`` of a queue that is made, if nobody else has just made it.

        *queues* remembers for one batch only: a transaction may be undone, and another process may change a queue.
        """
        if records.queues.insert(organisation, name, QueueSettings(), records.now):
            records.events.append(
                "queue.created", organisation=organisation, subject=name, at=records.now, queue=name
            )
        known = self._known_queue(records, organisation, name, queues)
        assert known is not None
        return known

    def _taken(self, records: Records, submission: Submission) -> Task | None:
        """Answer a submission whose key is taken: the task that has it, None when the key is free, or raise."""
        actor, new = submission.actor, submission.new
        if new.key is None:
            return None
        existing = records.tasks.get_by_key(actor.organisation, new.key)
        if existing is None:
            return None
        if new.on_conflict is OnConflict.RETURN:
            return existing
        if new.on_conflict is OnConflict.REPLACE and existing.state is not State.RUNNING:
            self._cancel(records, [existing], Reason.REPLACED)
            return None
        raise _key_taken(new.key, existing)

    def _outrun(self, records: Records, submission: Submission) -> Task | Exception:
        """Answer a submission that went in nowhere: its key was free when we looked and is not now, or its id is taken."""
        new = submission.new
        existing = (
            records.tasks.get_by_key(submission.actor.organisation, new.key) if new.key is not None else None
        )
        if existing is not None:
            return existing if new.on_conflict is OnConflict.RETURN else _key_taken(str(new.key), existing)
        if new.id is not None:
            return _id_taken(new.id)
        return Conflict(f"the key {new.key!r} was taken and freed just now; submit again", code="key_taken")

    def _check_blockers(self, records: Records, submission: Submission) -> None:
        wanted = submission.new.blocked_by
        if wanted:
            ids = list(dict.fromkeys(wanted))
            check_known(records, submission.actor.organisation, ids, wanted, "/blocked_by")

    def _blockers(
        self, records: Records, submissions: Sequence[Submission], rows: dict[int, dict[str, Value]]
    ) -> dict[int, list[str]]:
        """Suspend what must wait for other tasks; return the ids each waits for, by position."""
        waits: dict[int, list[str]] = {}
        for position, row in rows.items():
            wanted = submissions[position].new.blocked_by
            if not wanted:
                continue
            organisation = submissions[position].actor.organisation
            blocked = sorted(records.work.open_ids(organisation, list(dict.fromkeys(wanted))))
            if blocked:
                waits[position] = blocked
                row.update(state=State.SUSPENDED.value, reason=Reason.BLOCKED)
        return waits

    def _limit(
        self, records: Records, submissions: Sequence[Submission], rows: dict[int, dict[str, Value]]
    ) -> None:
        """Suspend what would be one too many of its concurrency key."""
        places: dict[tuple[int, str], int] = {}
        limited = [
            (submissions[position].actor.organisation, new.concurrency_key, new.concurrency_limit, position)
            for position, row in rows.items()
            if (new := submissions[position].new).concurrency_key is not None
            and row["state"] == State.READY.value
        ]
        # By key first: whoever locks several locks them in one order.
        for organisation, key, limit, position in sorted(
            limited, key=lambda each: (each[0], each[1], each[3])
        ):
            if not take_slots(records, places, (organisation, key, limit)):
                rows[position].update(state=State.SUSPENDED.value, reason=Reason.LIMIT)

    # -- cancel, retry, run now ----------------------------------------------------------------------------------------------

    def cancel(
        self, records: Records, actor: Actor, ids: Sequence[str], *, at_once: bool = False
    ) -> list[Task | Exception]:
        """
        Cancel many, each with its open children. What nobody holds is canceled at once; what a worker runs is asked to
        stop, or with *at_once* taken away like what a person holds: its next word is refused. Canceling what is canceled
        already changes nothing.

        Refusals:
            Forbidden, NotFound, WrongState (the task has succeeded or failed).
        """
        actor.require(Permission.CONTROL)
        found = {task.id: task for task in records.tasks.lock(actor.organisation, ids)}
        self._cancel(records, [task for task in found.values() if task.is_open], at_once=at_once)
        now_are = {task.id: task for task in records.tasks.get_many(actor.organisation, list(found))}
        return [_canceled(id, found.get(id), now_are.get(id)) for id in ids]

    def cancel_one(self, records: Records, actor: Actor, id: str) -> Task:
        [answer] = self.cancel(records, actor, [id])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _cancel(
        self, records: Records, tasks: Sequence[Task], reason: Reason | None = None, *, at_once: bool = False
    ) -> None:
        """Cancel open tasks for *reason*, and with them all that is open below them, level by level."""
        while tasks:
            self._cancel_these(records, tasks, reason, at_once)
            reason = None
            children = []
            for organisation in {task.organisation for task in tasks}:
                parents = [task.id for task in tasks if task.organisation == organisation]
                children += records.tasks.lock_open_children(organisation, parents)
            tasks = children

    def _cancel_these(
        self, records: Records, tasks: Sequence[Task], reason: Reason | None, at_once: bool
    ) -> None:
        running = [task for task in tasks if task.state is State.RUNNING]
        self._end(
            records, [task for task in tasks if task.state is not State.RUNNING], State.CANCELED, reason, None
        )
        taken = [task for task in running if at_once or not str(task.holder).startswith("worker:")]
        self._take_away(records, taken)
        asked = records.work.ask_to_stop([task.number for task in running if task not in taken], records.now)
        for task in asked:
            records.events.append_task("cancel_requested", task, records.now)
            records.news.add(f"stop:{task.holder}")

    def _take_away(self, records: Records, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        now = to_micros(records.now)
        endings = [
            {
                "organisation": task.organisation,
                "number": task.number,
                "claims": task.claims,
                "holder": task.holder,
                "state": State.CANCELED.value,
                "reason": None,
                "run_at": None,
                "wake_at": None,
                "failed": 0,
                "lost": 0,
                "output": None,
                "error": None,
                "message": None,
                "now": now,
            }
            for task in tasks
        ]
        ended = list(records.work.settle(endings).values())
        for task in ended:
            records.events.append_task("canceled", task, records.now)
        after_ends(records, ended)

    def _end(
        self, records: Records, tasks: Sequence[Task], state: State, reason: str | None, error: Error | None
    ) -> list[Moved]:
        if not tasks:
            return []
        now = to_micros(records.now)
        rows: list[Mapping[str, Value]] = [
            {
                "number": task.number,
                "state": state.value,
                "reason": reason,
                "error": error_text(error),
                "now": now,
            }
            for task in sorted(tasks, key=lambda task: task.number)
        ]
        ended = list(records.work.end_open(rows).values())
        records.work.clear_blockers([task.number for task in ended])
        for task in ended:
            records.events.append_task(state.value, task, records.now, {"reason": reason} if reason else None)
        after_ends(records, ended)
        return ended

    def expire(self, records: Records, limit: int) -> int:
        """Fail what has not started in time; return how many."""
        late = records.work.expired(records.now, limit)
        error = Error(code="expired", message="the task had not started by its start_by")
        return len(self._end(records, late, State.FAILED, Reason.EXPIRED, error))

    def retry(self, records: Records, actor: Actor, id: str) -> Task:
        """
        Submit an ended task again, as a new one that says ``retry_of``. Final is final: the old one stays as it ended.

        Raises:
            NotFound, Forbidden, WrongState (the task is still open), Conflict (its key is taken).
        """
        task = self.get(records, actor, id)
        if task.is_open:
            raise WrongState(id, task.state, "retry", ACTIONS[task.state])
        return self.submit_one(records, actor, again(task))

    def run_now(self, records: Records, actor: Actor, id: str) -> Task:
        """Make a scheduled task ready at once; one that is ready or running already is left alone."""
        actor.require(Permission.CONTROL)
        locked = records.tasks.lock(actor.organisation, [id])
        if not locked:
            raise NotFound("task", id)
        [task] = locked
        if task.state in (State.READY, State.RUNNING):
            return task
        if task.state is not State.SCHEDULED:
            raise WrongState(id, task.state, "run_now", ACTIONS[task.state])
        make_ready(records, [replace(task, run_at=records.now)])
        return self.get(records, actor, id)

    def become_due(self, records: Records, limit: int) -> int:
        """Move on what has waited for its time; return how many."""
        due = records.work.due(records.now, limit)
        waking = records.work.waking(records.now, limit)
        if waking:
            records.work.clear_blockers([task.number for task in waking])
        make_ready(records, [*due, *waking])
        return len(due) + len(waking)

    def send(self, records: Records, actor: Actor, name: str, payload: object) -> bool:
        """
        Send an event under *name* to whoever waits for it, now or later. The first that is sent stays.

        Returns:
            False when something was sent under this name before; nothing changes then.

        Raises:
            Forbidden, Invalid, TooLarge.
        """
        actor.require(Permission.SUBMIT)
        faults = check_text(name, "/name", most=MAX_KEY_LENGTH)
        if faults:
            raise Invalid(faults[0].detail, faults=faults)
        fitting("the payload", payload, self._max_payload_bytes, pointer="/payload")
        if not records.work.send(actor.organisation, name, payload, records.now):
            return False
        records.events.append("event.sent", organisation=actor.organisation, subject=name, at=records.now)
        subject = f"{actor.organisation}:{name}"
        waiting = records.work.blocked_by(EVENT, [subject])
        if waiting:
            for task in records.tasks.lock_numbers(waiting):
                answer_event(records, task.number, task.claims, name, payload)
            records.work.unblock(EVENT, [subject])
            go_on(records, waiting)
        return True

    # -- read ----------------------------------------------------------------------------------------------------------------

    def get(self, records: Records, actor: Actor, id: str) -> Task:
        """Raises NotFound; another organisation's task is not found."""
        actor.require(Permission.READ)
        task = records.tasks.get(actor.organisation, id)
        if task is None:
            raise NotFound("task", id)
        return task

    def search(
        self,
        records: Records,
        actor: Actor,
        filter: TaskFilter,
        *,
        limit: int,
        before: int | None = None,
        after: int | None = None,
        offset: int = 0,
        oldest_first: bool = False,
    ) -> list[Task]:
        """Return the actor's tasks that match, newest first; see :meth:`TaskRecords.search`."""
        actor.require(Permission.READ)
        if len(filter.labels) > MAX_FILTER_LABELS:
            raise Invalid(f"a filter names at most {MAX_FILTER_LABELS} labels", code="too_many")
        return records.tasks.search(
            actor.organisation,
            filter,
            limit=limit,
            before=before,
            after=after,
            offset=offset,
            oldest_first=oldest_first,
        )

    def results(self, records: Records, actor: Actor, id: str) -> list[Result]:
        return records.tasks.results(self.get(records, actor, id))

    def steps(self, records: Records, actor: Actor, id: str) -> list[Step]:
        return records.tasks.steps(self.get(records, actor, id).number)

    def logs(self, records: Records, actor: Actor, id: str) -> list[Log]:
        return records.tasks.logs(self.get(records, actor, id).number)

    def relabel(self, records: Records, actor: Actor, id: str, labels: Mapping[str, str]) -> Task:
        """Give a task exactly *labels*."""
        actor.require(Permission.CONTROL)
        task = self.get(records, actor, id)
        check_new_task(NewTask(type=task.type, labels=labels))
        records.tasks.relabel(task, labels, records.now)
        return replace(task, labels=dict(labels), updated_at=records.now)


def check_known(
    records: Records, organisation: int, ids: Sequence[str], given: Sequence[str], pointer: str
) -> None:
    """Raise Invalid for those of *ids* that no task has, with a fault wherever one stands in what was *given* at *pointer*."""
    unknown = set(ids) - {task.id for task in records.tasks.get_many(organisation, ids)}
    faults = [
        Fault(f"{pointer}/{index}", "unknown_task", f"there is no task {id}")
        for index, id in enumerate(given)
        if id in unknown
    ]
    if faults:
        raise Invalid(
            "; ".join(fault.detail for fault in faults[:MOST_NAMED]), code="unknown_task", faults=faults
        )


def again(task: Task) -> NewTask:
    """Return what submits *task* again."""
    return NewTask(
        type=task.type,
        queue=task.queue,
        input=task.input,
        target=task.target,
        priority=task.priority,
        labels=task.labels,
        key=task.key,
        timeout=task.timeout,
        max_failures=task.max_failures,
        concurrency_key=task.concurrency_key,
        concurrency_limit=task.concurrency_limit,
        weight=task.weight,
        rule=task.rule,
        retry_of=task.id,
        origin=task.origin,
    )


def _key_taken(key: str, existing: Task) -> Conflict:
    return Conflict(
        f"the open task {existing.id} has the key {key!r}; wait for it, or say on_conflict: return",
        code="key_taken",
        existing=existing.id,
    )


def _id_taken(id: str) -> Conflict:
    return Conflict(f"the id {id} is taken; take a fresh one", code="id_taken")


def _canceled(id: str, before: Task | None, after: Task | None) -> Task | Exception:
    if before is None or after is None:
        return NotFound("task", id)
    if before.state in (State.SUCCEEDED, State.FAILED):
        return WrongState(id, before.state, "cancel", ACTIONS[before.state])
    return after


def _needs_its_number(new: NewTask) -> bool:
    """Say whether something hangs on the number of a task in the transaction that inserts it, or on whether it goes in at all."""
    return new.key is not None or new.id is not None or bool(new.labels)


def _task_of(submission: Submission, row: Mapping[str, Any], number: int, created_at: datetime) -> Task:
    """Return the task as it was just inserted, without reading it back."""
    new = submission.new
    run_at = created_at if row["run_at"] is None else from_micros(row["run_at"])
    return make_task(
        number, row["id"], submission.actor.organisation, new.type, new.queue, STATES[row["state"]], None if row["reason"] is None else str(row["reason"]),
        new.priority, new.target, new.input, new.labels, new.key, new.concurrency_key, new.concurrency_limit, new.weight,
        run_at, None, new.start_by, created_at, None, None, None, created_at, 0, 0, 0, row["max_failures"], new.timeout,
        None, None, None, None, None, None, new.parent, new.schedule, new.rule, new.retry_of, new.report,
        submission.actor.identity, new.origin, new.trace, None, None,
    )  # fmt: skip


def _rounds(submissions: Sequence[Submission]) -> list[list[int]]:
    """Return the positions of *submissions* in rounds: what repeats a key or an id comes in a later one."""
    if not any(each.new.key is not None or each.new.id is not None for each in submissions):
        return [list(range(len(submissions)))]
    rounds: list[list[int]] = [[]]
    next_turn: dict[tuple[int, str, str], int] = {}
    for position, submission in enumerate(submissions):
        organisation, new = submission.actor.organisation, submission.new
        names = [
            (organisation, noun, name)
            for noun, name in (("key", new.key), ("id", new.id))
            if name is not None
        ]
        turn = max((next_turn.get(name, 0) for name in names), default=0)
        next_turn.update(dict.fromkeys(names, turn + 1))
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(position)
    return rounds
