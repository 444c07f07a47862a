"""Claim, extend, settle: what holders do, workers and people alike; and what happens to those that died."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final, assert_never

from taskyard.core.actor import Actor, Permission
from taskyard.core.backoff import retry_delay
from taskyard.core.errors import Conflict, Invalid, LeaseLost, LimitReached, NotFound, TooLarge, WrongState
from taskyard.core.hold import Hold, Report, Settlement
from taskyard.core.limits import (
    MAX_KEY_LENGTH,
    MAX_LOG_BYTES,
    MAX_MESSAGE_LENGTH,
    MAX_NAME_LENGTH,
    MAX_PAYLOAD_BYTES,
    MAX_PRIORITY,
    check_name,
    check_text,
)
from taskyard.core.outcome import Done, Failed, Later, Released, Stopped, Waits
from taskyard.core.queue import Queue
from taskyard.core.task import ACTIONS, MAX_LOSSES, Error, Json, Moved, NewTask, Reason, State, Task
from taskyard.core.times import to_micros
from taskyard.core.worker import Lane, Worker
from taskyard.service.flow import EVENT, TASK, after_ends, after_slots, answer_event, tell_ready
from taskyard.service.payloads import beginning, end, fitting
from taskyard.service.rate import opens_at, starts_left, with_starts
from taskyard.service.tasks import Submission, Tasks, check_known
from taskyard.store.engine import Duplicate, Value
from taskyard.store.records import Records
from taskyard.store.tasks import Step, error_text
from taskyard.store.values import from_json, micros

WORKER: Final = "worker:"
LOST: Final = Error(code="lost", message="the worker that ran this died or was cut off")
POISONED: Final = Error(
    code="poisoned",
    message=f"{MAX_LOSSES} workers or their child processes died while running this, so it is likely what kills them",
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where is claimed, for whom and until when; ``found`` is the queue as it is stored, if it is."""

    organisation: int
    queue: str
    found: Queue | None
    holder: str
    lease_until: datetime | None


class Work:
    """
    Args:
        tasks: Submits what handlers submit.
        jitter: Returns a number in [0, 1): spreads the retries of what failed together.
    """

    def __init__(
        self,
        tasks: Tasks,
        new_id: Callable[[], str],
        jitter: Callable[[], float],
        *,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    ) -> None:
        self._tasks = tasks
        self._new_id = new_id
        self._jitter = jitter
        self._max_payload_bytes = max_payload_bytes

    # -- workers -------------------------------------------------------------------------------------------------------------

    def register(
        self,
        records: Records,
        actor: Actor,
        *,
        id: str,
        name: str,
        lanes: Sequence[Lane],
        slots: int,
        lease: timedelta,
        version: str = "",
    ) -> Worker:
        """Make a worker known under a fresh *id*; it lives as long as it beats within *lease*."""
        actor.require(Permission.WORK)
        now = records.now
        worker = Worker(
            id=id,
            organisation=actor.organisation,
            name=name,
            lanes=tuple(sorted(set(lanes))),
            slots=slots,
            version=version,
            started_at=now,
            seen_at=now,
            lease_until=now + lease,
            state="active",
            claimed_at=None,
        )
        try:
            records.workers.insert(worker)
        except Duplicate:
            raise Conflict(f"a worker {id} has registered before; take a fresh id", code="id_taken") from None
        records.events.append(
            "worker.started", organisation=actor.organisation, subject=id, at=now, data={"name": name}
        )
        records.news.add("leases")  # the reaper may have meant to sleep for longer than this one lasts
        return worker

    def beat(
        self,
        records: Records,
        actor: Actor,
        worker: str,
        *,
        lease: timedelta,
        claimed_at: datetime | None = None,
        draining: bool = False,
    ) -> list[tuple[str, int, int]]:
        """
        Renew a worker's lease; return (id, number, claims) of what it runs and is asked to stop.

        Raises:
            LeaseLost: the lease ran out. The worker must drop everything and start again under a fresh id.
        """
        actor.require(Permission.WORK)
        state = "draining" if draining else "active"
        alive = records.workers.beat(
            actor.organisation,
            worker,
            lease_until=records.now + lease,
            claimed_at=claimed_at,
            state=state,
            now=records.now,
        )
        if not alive:
            raise LeaseLost(f"held by worker {worker}", 0)
        return records.work.stops(WORKER + worker)

    def leave(self, records: Records, actor: Actor, worker: str) -> None:
        """
        End a worker that goes by itself; what it still holds goes back untouched.

        One whose lease has run out cannot leave any more: it is dead, and its row is what the reaper finds its tasks by.
        """
        actor.require(Permission.WORK)
        if not records.workers.lock(actor.organisation, worker, records.now):
            return
        self._give_back(records, records.work.held(WORKER + worker))
        records.workers.end(worker, "gone", records.now)
        records.events.append(
            "worker.stopped", organisation=actor.organisation, subject=worker, at=records.now
        )

    def reap(self, records: Records, limit: int) -> int:
        """Take from dead workers and absent people what they held; return how many tasks."""
        taken = 0
        for worker in records.workers.dead(records.now, limit):
            held = records.work.held(worker.holder)
            self._lose(records, held)
            records.workers.end(worker.id, "lost", records.now)
            records.events.append(
                "worker.lost",
                organisation=worker.organisation,
                subject=worker.id,
                at=records.now,
                data={"name": worker.name, "tasks": len(held)},
            )
            taken += len(held)
        overdue = records.work.overdue(records.now, limit)
        self._give_back(records, overdue, "the lease ran out")
        return taken + len(overdue)

    def _give_back(self, records: Records, held: Sequence[Task], message: str | None = None) -> None:
        """Make ready again what a holder lets go, in its old place; what was asked to stop has stopped by that."""
        self._write(
            records,
            [
                self._ending(
                    records,
                    task,
                    State.READY if task.cancel_requested_at is None else State.CANCELED,
                    None,
                    message=message,
                )
                for task in held
            ],
        )

    def _lose(self, records: Records, held: Sequence[Task]) -> None:
        endings = []
        for task in held:
            losses, failures = task.losses + 1, task.failures + 1
            if task.cancel_requested_at is not None:
                ending = self._ending(records, task, State.CANCELED, None)
            elif losses >= MAX_LOSSES:
                ending = self._ending(records, task, State.FAILED, Reason.POISONED, error=POISONED)
            elif failures >= task.max_failures:
                ending = self._ending(records, task, State.FAILED, Reason.LOST, error=LOST)
            else:
                ending = self._ending(records, task, State.READY, Reason.LOST, error=LOST)
            endings.append({**ending, "failed": 1, "lost": 1})
        self._write(records, endings)

    # -- claim ---------------------------------------------------------------------------------------------------------------

    def claim(
        self, records: Records, actor: Actor, worker: str, lanes: Sequence[Lane], limit: int
    ) -> list[Task]:
        """
        Give a worker up to *limit* ready tasks of its lanes, as the queues' limits allow.

        Each queue gets its share first, so that a flood in one does not starve the others. Within a queue the most urgent go
        first whatever their type, and types of equally urgent tasks share.

        Raises:
            LeaseLost: the worker's lease ran out.
        """
        actor.require(Permission.WORK)
        if not records.workers.lives(actor.organisation, worker, records.now):
            raise LeaseLost(f"held by worker {worker}", 0)
        types: dict[str, list[str]] = {}
        for lane in dict.fromkeys(lanes):
            types.setdefault(lane.queue, []).append(lane.type)
        queues = records.queues.by_name(actor.organisation, sorted(types))
        open_queues = [name for name in types if name not in queues or not queues[name].settings.paused]
        limited = [name for name in sorted(open_queues) if name in queues and _is_limited(queues[name])]
        if (
            len(limited) > 1
        ):  # shares turn, and locks must not: two who claim from the same queues would wait for one another
            for name in limited:
                records.queues.lock(actor.organisation, name)
        claimed: list[Task] = []
        for name, share in self._shares(open_queues, limit):
            room = min(share, limit - len(claimed))
            if room > 0:
                place = _Place(actor.organisation, name, queues.get(name), WORKER + worker, None)
                claimed += self._claim_queue(records, place, types[name], room)
        for task in claimed:
            self._started(records, task)
        return claimed

    def _shares(self, names: Sequence[str], limit: int) -> list[tuple[str, int]]:
        """Return each name with its share of *limit*, then each with all of it: what one leaves goes to who has more."""
        if len(names) <= 1:
            return [(name, limit) for name in names]
        share = max(1, limit // len(names))
        start = int(self._jitter() * len(names))
        turned = [*names[start:], *names[:start]]
        return [*((name, share) for name in turned), *((name, limit) for name in turned)]

    def _claim_queue(self, records: Records, place: _Place, types: Sequence[str], limit: int) -> list[Task]:
        if len(types) == 1:
            return self._claim_lane(records, place, types[0], limit)
        claimed: list[Task] = []
        while len(claimed) < limit:
            heads = records.work.heads(place.organisation, place.queue, types, records.now)
            if not heads:
                break
            urgency = max(heads.values())
            most_urgent = [type for type, priority in heads.items() if priority == urgency]
            before = len(claimed)
            for type, share in self._shares(most_urgent, limit - before):
                room = min(share, limit - len(claimed))
                if room > 0:
                    claimed += self._claim_lane(records, place, type, room, at_least=urgency)
            if len(claimed) == before:
                break  # a limit of the queue holds the most urgent back, and what is less urgent waits behind it
        return claimed

    def _claim_lane(
        self, records: Records, place: _Place, type: str, limit: int, *, at_least: int = -MAX_PRIORITY
    ) -> list[Task]:
        """Claim the first of one type in a queue whose priority is *at_least* that."""
        if place.found is None or not _is_limited(place.found):
            return records.work.claim(
                place.organisation,
                place.queue,
                type,
                holder=place.holder,
                at_least=at_least,
                limit=limit,
                lease_until=place.lease_until,
                now=records.now,
            )
        locked = records.queues.lock(place.organisation, place.queue)
        if locked is None:
            return []
        queue, log = locked
        picked = records.work.pick(
            place.organisation,
            place.queue,
            type,
            at_least=at_least,
            heaviest=queue.settings.concurrency,
            limit=limit,
            now=records.now,
        )
        numbers = self._within_limits(records, queue, log, picked) if picked else []
        return records.work.claim_numbers(
            numbers, holder=place.holder, lease_until=place.lease_until, now=records.now
        )

    def _within_limits(
        self, records: Records, queue: Queue, log: list[list[int]], picked: Sequence[tuple[int, int]]
    ) -> list[int]:
        """Return the numbers of the first of *picked* that the limits of *queue*, locked before, let start; count them."""
        numbers = [number for number, _ in picked]
        if queue.settings.concurrency is not None:
            free = queue.settings.concurrency - records.work.running_weight(queue.organisation, queue.name)
            numbers = []
            for number, weight in picked:
                if weight > free:
                    break
                free -= weight
                numbers.append(number)
        if queue.settings.rate is not None:
            numbers = numbers[: starts_left(log, queue.settings.rate, records.now)]
            if numbers:
                log = with_starts(log, len(numbers), queue.settings.rate, records.now)
                records.queues.set_rate_log(queue.organisation, queue.name, log)
        return numbers

    def claim_next(
        self, records: Records, actor: Actor, queue: str, *, lease: timedelta | None = None
    ) -> Task | None:
        """Give the person who asks the most urgent ready task of *queue*; None when there is none, or it is paused."""
        actor.require(Permission.WORK)
        found = records.queues.get(actor.organisation, queue)
        if found is None:
            raise NotFound("queue", queue)
        if found.settings.paused:
            return None
        heads = []
        for type in records.work.ready_types(actor.organisation, queue):
            head = records.work.head(actor.organisation, queue, type, records.now)
            if head is not None:
                heads.append((head, type))
        until = records.now + (lease or found.settings.lease)
        place = _Place(actor.organisation, queue, found, actor.identity, until)
        for _, type in sorted(heads):
            claimed = self._claim_lane(records, place, type, 1)
            if claimed:
                return self._started(records, claimed[0])
        return None

    def claim_task(self, records: Records, actor: Actor, id: str, *, lease: timedelta | None = None) -> Task:
        """
        Give the person who asks this very task; whoever holds it already keeps it.

        Raises:
            NotFound, Forbidden, WrongState (it is not ready), Conflict (its queue is paused), LimitReached (of its queue).
        """
        actor.require(Permission.WORK)
        locked = records.tasks.lock(actor.organisation, [id])
        if not locked:
            raise NotFound("task", id)
        [task] = locked
        if task.holder == actor.identity and not _is_overdue(task, records.now):
            return task
        queue = records.queues.get(actor.organisation, task.queue)
        late = task.start_by is not None and task.start_by <= records.now and task.started_at is None
        if task.state is not State.READY or queue is None or late:
            raise WrongState(id, task.state, "claim", ACTIONS[task.state])
        if queue.settings.paused:
            raise Conflict(f"the queue {queue.name} is paused; resume it first", code="queue_paused")
        counted = records.queues.lock(actor.organisation, queue.name)
        if counted is None or not self._within_limits(records, *counted, [(task.number, task.weight)]):
            opens = rate_opens_at(records, queue)
            wait = timedelta(seconds=1) if opens is None else opens - records.now
            raise LimitReached(f"the queue {queue.name} lets no more tasks start now", wait)
        until = records.now + (lease or queue.settings.lease)
        [claimed] = records.work.claim_numbers(
            [task.number], holder=actor.identity, lease_until=until, now=records.now
        )
        return self._started(records, claimed)

    def _started(self, records: Records, task: Task) -> Task:
        records.events.append_task(
            "started", task, records.now, {"attempt": task.claims, "holder": task.holder}
        )
        return task

    # -- while it runs -------------------------------------------------------------------------------------------------------

    def extend(self, records: Records, actor: Actor, task: Task, *, lease: timedelta) -> Task:
        """Keep a person's lease on *task* for *lease* from now. Raises LeaseLost."""
        actor.require(Permission.WORK)
        mine = replace(task, holder=actor.identity, organisation=actor.organisation)
        extended = records.work.extend(mine, records.now + lease, records.now)
        if extended is None:
            raise LeaseLost(task.id, task.claims)
        return extended

    def report(self, records: Records, reports: Sequence[Report]) -> list[Exception | None]:
        """Write progress and messages of many attempts; who no longer holds his is told so."""
        answers: list[Exception | None] = [None] * len(reports)
        said: dict[tuple[int, int, str, int], dict[str, Value]] = {}
        for position, each in enumerate(reports):
            try:
                row = self._report_row(records, each)
            except (Invalid, TooLarge) as refusal:
                answers[position] = refusal
                continue
            # The last word counts where one attempt reports twice; what it does not speak of stays as it was.
            known = said.setdefault(_fence(each.hold), row)
            known.update((name, value) for name, value in row.items() if value is not None)
        kept = records.tasks.set_progress(sorted(said.values(), key=itemgetter("number")))
        for position, each in enumerate(reports):
            if answers[position] is not None:
                continue
            if kept.get(_fence(each.hold)) != each.hold.id:
                answers[position] = LeaseLost(each.hold.id, each.hold.claims)
                continue
            records.events.append(
                "task.progressed",
                organisation=each.hold.organisation,
                subject=each.hold.id,
                at=records.now,
                data={"progress": each.progress, "message": _message(each.message)},
            )
        return answers

    def _report_row(self, records: Records, report: Report) -> dict[str, Value]:
        return {
            "organisation": report.hold.organisation,
            "number": report.hold.number,
            "claims": report.hold.claims,
            "holder": report.hold.holder,
            "progress": self._fitting("the progress", report.progress),
            "message": _message(report.message),
            "now": to_micros(records.now),
        }

    def set_report(
        self,
        records: Records,
        hold: Hold,
        report: Json,
        *,
        rule: str | None = None,
        message: str | None = None,
    ) -> None:
        """Write the execution report of a plan, and the rule it was resolved to. Raises LeaseLost, Invalid, TooLarge."""
        self._fitting("the report", report)
        written = records.tasks.set_report(
            hold.number,
            hold.claims,
            hold.holder,
            organisation=hold.organisation,
            report=report,
            rule=rule,
            message=_message(message),
            now=records.now,
        )
        if not written:
            raise LeaseLost(hold.id, hold.claims)

    def publish(self, records: Records, hold: Hold, name: str, value: Json) -> str:
        """Publish a result, visible at once; return its id. Raises LeaseLost, Invalid, TooLarge."""
        self._check(records, hold)
        faults = check_name(name, "/name", "result name")
        if faults:
            raise Invalid(faults[0].detail, faults=faults)
        id = self._new_id()
        records.tasks.publish(
            [
                {
                    "id": id,
                    "organisation": hold.organisation,
                    "task": hold.number,
                    "attempt": hold.claims,
                    "name": name,
                    "value": self._fitting("the result", value),
                    "created_at": to_micros(records.now),
                }
            ]
        )
        records.events.append(
            "task.published",
            organisation=hold.organisation,
            subject=hold.id,
            at=records.now,
            data={"result": id, "name": name},
        )
        return id

    def finish_step(self, records: Records, hold: Hold, name: str, output: Json) -> Step:
        """Remember a step as done; return it as it is remembered: the first to finish counts. Raises LeaseLost, Invalid, TooLarge."""
        self._check(records, hold)
        _check_text(name, "/step")
        self._fitting(f"the output of the step {name!r}", output)
        records.tasks.add_step(hold.number, name, hold.claims, output, records.now)
        step = records.tasks.get_step(hold.number, name)
        assert step is not None
        return step

    def steps(self, records: Records, hold: Hold) -> list[Step]:
        """Return the steps of a task that are done; a read. Raises LeaseLost."""
        task = records.tasks.get_by_number(hold.organisation, hold.number)
        if not _stands(task, hold, records.now):
            raise LeaseLost(hold.id, hold.claims)
        return records.tasks.steps(hold.number)

    def spawn(
        self, records: Records, actor: Actor, hold: Hold, step: str, news: Sequence[NewTask]
    ) -> list[str]:
        """
        Submit children of a task as one step: done once, however often the task is tried. Returns their ids.

        Raises:
            LeaseLost, and what submitting raises; nothing is submitted then.
        """
        self._check(records, hold)
        _check_text(step, "/step")
        done = records.tasks.get_step(hold.number, step)
        if done is not None:
            return [str(id) for id in done.output]
        children = [Submission(actor, replace(new, parent=hold.id)) for new in news]
        ids: list[str] = []
        for answer in self._tasks.submit(records, children):
            if isinstance(answer, Exception):
                raise answer
            ids.append(answer.id)
        records.tasks.add_step(hold.number, step, hold.claims, ids, records.now)
        return ids

    def save_log(self, records: Records, hold: Hold, text: str) -> None:
        """Write what the attempt has logged so far; the newest is kept when it is too long. Raises LeaseLost."""
        self._check(records, hold)
        records.tasks.set_log(hold.number, hold.claims, end(text, MAX_LOG_BYTES), records.now)

    def _check(self, records: Records, hold: Hold) -> None:
        if not records.work.holds(hold.organisation, hold.number, hold.id, hold.claims, hold.holder):
            raise LeaseLost(hold.id, hold.claims)

    def _fitting(self, what: str, value: Json) -> str | None:
        return fitting(what, value, self._max_payload_bytes)

    # -- settle --------------------------------------------------------------------------------------------------------------

    def settle(self, records: Records, settlements: Sequence[Settlement]) -> list[Moved | Exception]:
        """
        End many attempts: the answer for each, in order, is where its task is now, or the refusal that concerns it alone.

        Refusals:
            LeaseLost: the attempt is no longer the holder's; nothing of it is kept.
            Invalid, TooLarge: the output; the attempt is still the holder's, who may settle it otherwise.
        """
        if not settlements:
            return []
        dead = self._dead_holders(records, settlements)
        looked_at = _to_look_at(settlements)
        attempts = records.work.lock_attempts(sorted(looked_at))
        endings: dict[int, dict[str, Value]] = {}
        waits: dict[int, list[tuple[int, str, str]]] = {}
        answers: list[Moved | Exception | None] = [None] * len(settlements)
        for position, settlement in enumerate(settlements):
            hold = settlement.hold
            attempt = attempts.get(hold.number)
            stands = hold.number not in looked_at or _stands(attempt, hold, records.now)
            try:
                # A number that is in the endings was looked at: its attempt is ended by an earlier settlement of this batch.
                if (hold.organisation, hold.holder) in dead or not stands or hold.number in endings:
                    raise LeaseLost(hold.id, hold.claims)
                endings[hold.number] = self._decided(records, settlement, attempt, waits)
            except (LeaseLost, Invalid, TooLarge) as refusal:
                answers[position] = refusal
        settled = self._write(records, [endings[number] for number in sorted(endings)], waits)
        for position, settlement in enumerate(settlements):
            if answers[position] is None:
                answers[position] = self._settled(records, settlement, settled)
        return [answer for answer in answers if answer is not None]

    def _settled(
        self, records: Records, settlement: Settlement, settled: Mapping[int, Moved]
    ) -> Moved | Exception:
        hold = settlement.hold
        task = settled.get(hold.number)
        if task is None:
            return LeaseLost(hold.id, hold.claims)
        if settlement.log:
            records.tasks.set_log(hold.number, hold.claims, end(settlement.log, MAX_LOG_BYTES), records.now)
        return task

    def _dead_holders(self, records: Records, settlements: Sequence[Settlement]) -> set[tuple[int, str]]:
        """Return the workers among the holders whose lease has run out: late is refused, even before the reaper came by."""
        holders = {(each.hold.organisation, each.hold.holder) for each in settlements}
        return {
            (organisation, holder)
            for organisation, holder in holders
            if holder.startswith(WORKER)
            and not records.workers.lives(organisation, holder.removeprefix(WORKER), records.now)
        }

    def _decided(
        self,
        records: Records,
        settlement: Settlement,
        task: Task | None,
        waits: dict[int, list[tuple[int, str, str]]],
    ) -> dict[str, Value]:
        """Return the row that ends the attempt; for a task that waits, its blockers go into *waits*."""
        hold, outcome = settlement.hold, settlement.outcome
        if isinstance(outcome, Done):
            output = self._fitting("the output", outcome.output)
            return self._ending(records, hold, State.SUCCEEDED, None, output=output)
        assert task is not None  # looked at, and found to stand
        if task.cancel_requested_at is not None:
            message = outcome.message if isinstance(outcome, Stopped | Released) else None
            return self._ending(records, hold, State.CANCELED, None, message=message)
        match outcome:
            case Failed():
                return self._failed(records, task, outcome)
            case Later(delay):
                if delay <= timedelta(0):
                    return self._ending(records, hold, State.READY, Reason.LATER, run_at=records.now)
                return self._ending(records, hold, State.SCHEDULED, Reason.LATER, run_at=records.now + delay)
            case Waits():
                return self._waiting(records, task, outcome, waits)
            case Stopped(message):
                return self._ending(records, hold, State.CANCELED, None, message=message)
            case Released(message):
                return self._ending(records, hold, State.READY, None, run_at=records.now, message=message)
            case _:
                assert_never(outcome)

    def _failed(self, records: Records, task: Task, failed: Failed) -> dict[str, Value]:
        error = _error_of(failed)
        spent: dict[str, Value] = {"failed": 1, "lost": int(failed.code == Reason.KILLED)}
        if failed.code == Reason.KILLED and task.losses + 1 >= MAX_LOSSES:
            error = replace(POISONED, message=f"{POISONED.message}; at last: {failed.message}")
            return {**self._ending(records, task, State.FAILED, Reason.POISONED, error=error), **spent}
        reason = Reason(failed.code) if failed.code in (Reason.TIMED_OUT, Reason.KILLED) else None
        if failed.final or task.failures + 1 >= task.max_failures:
            return {**self._ending(records, task, State.FAILED, reason, error=error), **spent}
        after = (
            failed.after if failed.after is not None else retry_delay(task.failures + 1, jitter=self._jitter)
        )
        ending = self._ending(
            records, task, State.SCHEDULED, Reason.RETRY, run_at=records.now + after, error=error
        )
        return {**ending, **spent}

    def _waiting(
        self, records: Records, task: Task, outcome: Waits, waits: dict[int, list[tuple[int, str, str]]]
    ) -> dict[str, Value]:
        open_ids = records.work.open_ids(task.organisation, list(outcome.tasks))
        ended = [id for id in dict.fromkeys(outcome.tasks) if id not in open_ids]
        check_known(records, task.organisation, ended, outcome.tasks, "/tasks")
        blockers = [(task.number, TASK, id) for id in sorted(open_ids) if id != task.id]
        for index, name in enumerate(outcome.events):
            _check_text(name, f"/events/{index}")
            sent = records.work.signal(task.organisation, name)
            if sent is not None:
                answer_event(records, task.number, task.claims, name, sent[0])
            else:
                blockers.append((task.number, EVENT, f"{task.organisation}:{name}"))
        only_sleeps = not outcome.tasks and not outcome.events and outcome.until is not None
        if not blockers and not only_sleeps:
            return self._ending(records, task, State.READY, None)
        waits[task.number] = blockers
        return self._ending(records, task, State.SUSPENDED, Reason.BLOCKED, wake_at=outcome.until)

    def _ending(
        self,
        records: Records,
        hold: Hold | Task,
        state: State,
        reason: str | None,
        *,
        run_at: datetime | None = None,
        wake_at: datetime | None = None,
        output: str | None = None,
        error: Error | None = None,
        message: str | None = None,
    ) -> dict[str, Value]:
        now = to_micros(records.now)
        terminal = state in (State.SUCCEEDED, State.FAILED, State.CANCELED)
        return {
            "organisation": hold.organisation,
            "number": hold.number,
            "claims": hold.claims,
            "holder": hold.holder,
            "state": state.value,
            "reason": reason,
            "run_at": micros(run_at),
            "wake_at": micros(wake_at),
            "finished_at": now if terminal else None,
            "failed": 0,
            "lost": 0,
            "output": output,
            "error": error_text(error),
            "message": _message(message),
            "now": now,
        }

    def _write(
        self,
        records: Records,
        endings: Sequence[dict[str, Value]],
        waits: Mapping[int, list[tuple[int, str, str]]] | None = None,
    ) -> dict[int, Moved]:
        """Write endings and do what follows from them; the one way in which any attempt ends."""
        if not endings:
            return {}
        settled = records.work.settle(endings)
        if waits:
            records.work.block(
                [blocker for number in settled if number in waits for blocker in waits[number]]
            )
        errors = {ending["number"]: ending["error"] for ending in endings if ending["error"] is not None}
        # Who decided belongs in the log for good; that a worker did stands in the event of its start.
        people = {
            ending["number"]: ending["holder"]
            for ending in endings
            if not str(ending["holder"]).startswith(WORKER)
        }
        ended: list[Moved] = []
        freed: list[Moved] = []
        for task in settled.values():
            records.news.add(
                f"left:{task.organisation}:{task.queue}"
            )  # a queue with a limit has room for another
            data: dict[str, Json] = {"attempt": task.claims}
            if task.number in people:
                data["holder"] = people[task.number]
            if not task.is_open:
                ended.append(task)
                if task.state is State.FAILED:
                    data["error"] = from_json(str(errors[task.number]))["code"]
                records.events.append_task(task.state.value, task, records.now, data)
                continue
            if task.state is State.READY:
                tell_ready(records, task.organisation, task.queue)
            else:
                freed.append(task)
                if task.state is State.SCHEDULED or task.wakes:
                    records.news.add("due")
            data["state"] = task.state.value
            records.events.append_task(_still_open_kind(task), task, records.now, data)
        after_slots(records, freed)
        after_ends(records, ended)
        return settled


def _fence(hold: Hold) -> tuple[int, int, str, int]:
    return hold.number, hold.claims, hold.holder, hold.organisation


def _to_look_at(settlements: Sequence[Settlement]) -> set[int]:
    """
    Return the numbers of the tasks that must be read before their attempts can be ended.

    A worker's ``Done`` needs no look, as the write is fenced; but of several settlements of one task the right one must be
    known, and a person's lease stands on the task.
    """
    times = Counter(each.hold.number for each in settlements)
    return {
        each.hold.number
        for each in settlements
        if times[each.hold.number] > 1
        or not isinstance(each.outcome, Done)
        or not each.hold.holder.startswith(WORKER)
    }


def _stands(attempt: Task | None, hold: Hold, now: datetime) -> bool:
    return (
        attempt is not None
        and _fence(hold) == (attempt.number, attempt.claims, attempt.holder, attempt.organisation)
        and not _is_overdue(attempt, now)
    )


def _is_overdue(task: Task, now: datetime) -> bool:
    """Say whether a person's lease has run out; the reaper takes the task away shortly."""
    return task.lease_until is not None and task.lease_until < now


def _message(text: str | None) -> str | None:
    return None if text is None else beginning(text, MAX_MESSAGE_LENGTH)


def _error_of(failed: Failed) -> Error:
    """Return the error as it is kept. A failure is never refused for what it says: it is cut instead."""
    return Error(
        code=beginning(failed.code, MAX_NAME_LENGTH) or "error",
        message=beginning(failed.message, MAX_MESSAGE_LENGTH),
        traceback=None if failed.traceback is None else end(failed.traceback, MAX_LOG_BYTES),
    )


def _check_text(text: str, pointer: str) -> None:
    faults = check_text(text, pointer, most=MAX_KEY_LENGTH)
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


def _still_open_kind(task: Moved) -> str:
    if task.reason == Reason.RETRY:
        return "retried"
    if task.reason == Reason.LOST:
        return "lost"
    if task.state is State.SUSPENDED:
        return "suspended"
    return "released" if task.state is State.READY else "delayed"


def _is_limited(queue: Queue) -> bool:
    return queue.settings.concurrency is not None or queue.settings.rate is not None


def rate_opens_at(records: Records, queue: Queue) -> datetime | None:
    """Return when the queue's rate limit lets the next task start; None when it does now."""
    if queue.settings.rate is None:
        return None
    return opens_at(records.queues.rate_log(queue.organisation, queue.name), queue.settings.rate, records.now)
