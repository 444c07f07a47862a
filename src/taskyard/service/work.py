"""Claim, extend, settle: what holders do, workers and people alike; and what happens to those that died."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from taskyard.core.actor import Actor, Permission
from taskyard.core.backoff import retry_delay
from taskyard.core.errors import Invalid, LeaseLost, NotFound, TooLarge, WrongState
from taskyard.core.limits import MAX_LOG_BYTES, MAX_PAYLOAD_BYTES, check_name
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.queue import Queue
from taskyard.core.task import ACTIONS, MAX_LOSSES, Error, Json, Moved, NewTask, Reason, State, Task
from taskyard.core.times import to_micros
from taskyard.core.worker import Lane, Worker
from taskyard.service.flow import EVENT, TASK, after_ends, after_slots, answer_event, tell_ready
from taskyard.service.rate import opens_at, starts_left, with_starts
from taskyard.service.tasks import Submission, Tasks
from taskyard.store.engine import Value
from taskyard.store.records import Records
from taskyard.store.tasks import Step, error_text
from taskyard.store.values import from_json, json_text, micros

WORKER: Final = "worker:"
LOST: Final = Error(code="lost", message="the worker that ran this died or was cut off")
POISONED: Final = Error(
    code="poisoned", message=f"{MAX_LOSSES} workers died while running this, so it is likely what kills them"
)


@dataclass(frozen=True, slots=True)
class Hold:
    """One attempt, as its holder names it: every write of a holder carries it, and is refused when it no longer stands."""

    organisation: int
    number: int
    id: str
    claims: int
    holder: str

    @classmethod
    def of(cls, task: Task) -> "Hold":
        assert task.holder is not None
        return cls(task.organisation, task.number, task.id, task.claims, task.holder)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one attempt: what came of it, and the log captured meanwhile."""

    hold: Hold
    outcome: Outcome
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a holder says while it works."""

    hold: Hold
    progress: Json = None
    message: str | None = None


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
        records.workers.insert(worker)
        records.events.append(
            "worker.started", organisation=actor.organisation, subject=id, at=now, data={"name": name}
        )
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
        """End a worker that goes by itself; what it still holds goes back untouched."""
        actor.require(Permission.WORK)
        held = records.work.held(WORKER + worker)
        self._settle(records, [Settlement(Hold.of(task), Released()) for task in held])
        if records.workers.end(worker, "gone", records.now):
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
        self._settle(records, [Settlement(Hold.of(task), Released("the lease ran out")) for task in overdue])
        return taken + len(overdue)

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
        settled = self._write(records, endings)
        for moved in settled.values():
            records.events.append_task("lost", moved, records.now, {"attempt": moved.claims})

    # -- claim ---------------------------------------------------------------------------------------------------------------

    def claim(
        self, records: Records, actor: Actor, worker: str, lanes: Sequence[Lane], limit: int
    ) -> list[Task]:
        """
        Give a worker up to *limit* ready tasks of its lanes, as the queues' limits allow; each lane gets its share first.

        Raises:
            LeaseLost: the worker's lease ran out.
        """
        actor.require(Permission.WORK)
        if not records.workers.lives(actor.organisation, worker, records.now):
            raise LeaseLost(f"held by worker {worker}", 0)
        queues = records.queues.by_name(actor.organisation, sorted({lane.queue for lane in lanes}))
        open_lanes = self._open_lanes(records, actor.organisation, lanes, queues)
        claimed: list[Task] = []
        # Shares first, so that a flood in one lane does not starve the others; then what is left goes to whoever has more.
        for wanted in self._shares(open_lanes, limit):
            lane, share = wanted
            room = min(share, limit - len(claimed))
            if room > 0:
                claimed += self._claim_lane(
                    records, actor.organisation, lane, queues, WORKER + worker, room, None
                )
        for task in claimed:
            records.events.append_task(
                "started", task, records.now, {"attempt": task.claims, "holder": task.holder}
            )
        return claimed

    def _shares(self, lanes: Sequence[Lane], limit: int) -> list[tuple[Lane, int]]:
        if len(lanes) <= 1:
            return [(lane, limit) for lane in lanes]
        share = max(1, limit // len(lanes))
        start = int(self._jitter() * len(lanes))
        turned = [*lanes[start:], *lanes[:start]]
        return [*((lane, share) for lane in turned), *((lane, limit) for lane in turned)]

    def _open_lanes(
        self, records: Records, organisation: int, lanes: Sequence[Lane], queues: Mapping[str, Queue]
    ) -> list[Lane]:
        """Return the lanes that are not paused and, where there are many, have something ready."""
        open_lanes = [
            lane for lane in lanes if lane.queue not in queues or not queues[lane.queue].settings.paused
        ]
        if len(open_lanes) <= 1:
            return open_lanes
        ready = {
            Lane(queue, type)
            for queue in sorted({lane.queue for lane in open_lanes})
            for type in records.work.ready_types(organisation, queue)
        }
        return [lane for lane in open_lanes if lane in ready]

    def _claim_lane(
        self,
        records: Records,
        organisation: int,
        lane: Lane,
        queues: Mapping[str, Queue],
        holder: str,
        room: int,
        lease_until: datetime | None,
    ) -> list[Task]:
        queue = queues.get(lane.queue)
        if queue is None or (queue.settings.concurrency is None and queue.settings.rate is None):
            return records.work.claim(
                organisation,
                lane.queue,
                lane.type,
                holder=holder,
                limit=room,
                lease_until=lease_until,
                now=records.now,
            )
        picked = records.work.pick(organisation, lane.queue, lane.type, limit=room, now=records.now)
        numbers = self._within_limits(records, queue, picked) if picked else []
        return records.work.claim_numbers(numbers, holder=holder, lease_until=lease_until, now=records.now)

    def _within_limits(self, records: Records, queue: Queue, picked: Sequence[tuple[int, int]]) -> list[int]:
        """Return the numbers of the first of *picked* that the queue's limits let start, and count them as started."""
        locked = records.queues.lock(queue.organisation, queue.name)
        if locked is None:
            return []
        queue, log = locked
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
            head = records.work.head(actor.organisation, queue, type)
            if head is not None:
                heads.append((head, type))
        until = records.now + (lease or found.settings.lease)
        for _, type in sorted(heads):
            claimed = self._claim_lane(
                records, actor.organisation, Lane(queue, type), {queue: found}, actor.identity, 1, until
            )
            if claimed:
                return self._started(records, claimed[0])
        return None

    def claim_task(self, records: Records, actor: Actor, id: str, *, lease: timedelta | None = None) -> Task:
        """
        Give the person who asks this very task; whoever holds it already keeps it.

        Raises:
            NotFound, Forbidden, WrongState (it is not ready).
        """
        actor.require(Permission.WORK)
        locked = records.tasks.lock(actor.organisation, [id])
        if not locked:
            raise NotFound("task", id)
        [task] = locked
        if task.state is State.RUNNING and task.holder == actor.identity:
            return task
        queue = records.queues.get(actor.organisation, task.queue)
        if task.state is not State.READY or queue is None:
            raise WrongState(id, task.state, "claim", ACTIONS[task.state])
        until = records.now + (lease or queue.settings.lease)
        claimed = records.work.claim_numbers(
            [task.number], holder=actor.identity, lease_until=until, now=records.now
        )
        if not claimed:
            raise WrongState(id, task.state, "claim", ACTIONS[task.state])
        return self._started(records, claimed[0])

    def _started(self, records: Records, task: Task) -> Task:
        records.events.append_task(
            "started", task, records.now, {"attempt": task.claims, "holder": task.holder}
        )
        return task

    # -- while it runs -------------------------------------------------------------------------------------------------------

    def extend(self, records: Records, actor: Actor, task: Task, *, lease: timedelta) -> Task:
        """Keep a person's lease on *task* for *lease* from now. Raises LeaseLost."""
        extended = records.work.extend(replace(task, holder=actor.identity), records.now + lease, records.now)
        if extended is None:
            raise LeaseLost(task.id, task.claims)
        return extended

    def report(self, records: Records, reports: Sequence[Report]) -> list[Exception | None]:
        """Write progress and messages of many attempts; who no longer holds his is told so."""
        now = to_micros(records.now)
        kept = records.tasks.set_progress(
            [
                {
                    "number": each.hold.number,
                    "claims": each.hold.claims,
                    "holder": each.hold.holder,
                    "progress": json_text(each.progress),
                    "message": each.message,
                    "now": now,
                }
                for each in reports
            ]
        )
        answers: list[Exception | None] = []
        for each in reports:
            if each.hold.number not in kept:
                answers.append(LeaseLost(each.hold.id, each.hold.claims))
                continue
            records.events.append(
                "task.progressed",
                organisation=each.hold.organisation,
                subject=each.hold.id,
                at=records.now,
                data={"progress": each.progress, "message": each.message},
            )
            answers.append(None)
        return answers

    def set_report(
        self,
        records: Records,
        hold: Hold,
        report: Json,
        *,
        rule: str | None = None,
        message: str | None = None,
    ) -> None:
        """Write the execution report of a plan, and the rule it was resolved to. Raises LeaseLost."""
        written = records.tasks.set_report(
            hold.number, hold.claims, hold.holder, report=report, rule=rule, message=message, now=records.now
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
        """Remember a step as done; return it as it is remembered: the first to finish counts. Raises LeaseLost, TooLarge."""
        self._check(records, hold)
        self._fitting(f"the output of the step {name!r}", output)
        records.tasks.add_step(hold.number, name, hold.claims, output, records.now)
        step = records.tasks.get_step(hold.number, name)
        assert step is not None
        return step

    def steps(self, records: Records, hold: Hold) -> list[Step]:
        """Return the steps of a task that are done. Raises LeaseLost."""
        self._check(records, hold)
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
        records.tasks.set_log(hold.number, hold.claims, text[-MAX_LOG_BYTES:], records.now)

    def _check(self, records: Records, hold: Hold) -> None:
        if not records.work.holds(hold.number, hold.claims, hold.holder):
            raise LeaseLost(hold.id, hold.claims)

    def _fitting(self, what: str, value: Json) -> str | None:
        text = json_text(value)
        if text is not None and len(text) > self._max_payload_bytes:
            raise TooLarge(what, len(text.encode()), self._max_payload_bytes)
        return text

    # -- settle --------------------------------------------------------------------------------------------------------------

    def settle(self, records: Records, settlements: Sequence[Settlement]) -> list[Moved | Exception]:
        """
        End many attempts: the answer for each, in order, is where its task is now, or the refusal that concerns it alone.

        Refusals:
            LeaseLost: the attempt is no longer the holder's; nothing of it is kept.
            TooLarge: the output; the attempt is still the holder's, who may settle it otherwise.
        """
        return self._settle(records, settlements)

    def _settle(self, records: Records, settlements: Sequence[Settlement]) -> list[Moved | Exception]:
        if not settlements:
            return []
        dead = self._dead_holders(records, settlements)
        undecided = [each.hold.number for each in settlements if not isinstance(each.outcome, Done)]
        attempts = records.work.lock_attempts(undecided)
        endings: list[dict[str, Value]] = []
        refused: dict[int, Exception] = {}
        waits: dict[int, list[tuple[int, str, str]]] = {}
        for settlement in settlements:
            hold = settlement.hold
            try:
                if hold.holder in dead:
                    raise LeaseLost(hold.id, hold.claims)
                endings.append(self._decided(records, settlement, attempts.get(hold.number), waits))
            except (LeaseLost, TooLarge) as refusal:
                refused[hold.number] = refusal
        endings.sort(key=lambda ending: ending["number"])  # type: ignore[arg-type, return-value]
        settled = self._write(records, endings, waits)
        answers: list[Moved | Exception] = []
        for settlement in settlements:
            hold = settlement.hold
            task = settled.get(hold.number)
            if hold.number in refused:
                answers.append(refused[hold.number])
            elif task is None or task.claims != hold.claims:
                answers.append(LeaseLost(hold.id, hold.claims))
            else:
                if settlement.log:
                    records.tasks.set_log(
                        hold.number, hold.claims, settlement.log[-MAX_LOG_BYTES:], records.now
                    )
                answers.append(task)
        return answers

    def _dead_holders(self, records: Records, settlements: Sequence[Settlement]) -> set[str]:
        """Return the workers among the holders whose lease has run out: late is refused, even before the reaper came by."""
        holders = {(each.hold.organisation, each.hold.holder) for each in settlements}
        return {
            holder
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
        if task is None or task.claims != hold.claims or task.holder != hold.holder:
            raise LeaseLost(hold.id, hold.claims)
        if task.cancel_requested_at is not None:
            return self._ending(records, hold, State.CANCELED, None)
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
        error = Error(code=failed.code, message=failed.message, traceback=failed.traceback)
        reason = Reason.TIMED_OUT if failed.code == Reason.TIMED_OUT else None
        if failed.final or task.failures + 1 >= task.max_failures:
            return {**self._ending(records, task, State.FAILED, reason, error=error), "failed": 1}
        after = (
            failed.after if failed.after is not None else retry_delay(task.failures + 1, jitter=self._jitter)
        )
        ending = self._ending(
            records, task, State.SCHEDULED, Reason.RETRY, run_at=records.now + after, error=error
        )
        return {**ending, "failed": 1}

    def _waiting(
        self, records: Records, task: Task, outcome: Waits, waits: dict[int, list[tuple[int, str, str]]]
    ) -> dict[str, Value]:
        open_ids = records.work.open_ids(task.organisation, list(outcome.tasks))
        blockers = [(task.number, TASK, id) for id in sorted(open_ids) if id != task.id]
        for name in outcome.events:
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
            "message": message,
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
        ended: list[Moved] = []
        freed: list[Moved] = []
        for task in settled.values():
            data: dict[str, Json] = {"attempt": task.claims}
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


def _still_open_kind(task: Moved) -> str:
    if task.reason == Reason.RETRY:
        return "retried"
    if task.state is State.SUSPENDED:
        return "suspended"
    return "released" if task.state is State.READY else "delayed"


def rate_opens_at(records: Records, queue: Queue) -> datetime | None:
    """Return when the queue's rate limit lets the next task start; None when it does now."""
    if queue.settings.rate is None:
        return None
    return opens_at(records.queues.rate_log(queue.organisation, queue.name), queue.settings.rate, records.now)
