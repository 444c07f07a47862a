"""What the engine does, said once more in plain Python, small enough to be read in one go: every task in a list."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.task import MAX_LOSSES, NewTask, OnConflict

ENDED = ("succeeded", "failed", "canceled")


class Refused(Exception): ...


def must(holds: bool, code: str) -> None:
    if not holds:
        raise Refused(code)


@dataclass
class Task:
    number: int
    id: str
    new: NewTask
    run_at: datetime
    state: str = "ready"
    reason: str | None = None
    claims: int = 0
    failures: int = 0
    losses: int = 0
    holder: str | None = None
    lease_until: datetime | None = None
    wake_at: datetime | None = None
    started: bool = False
    stop: bool = False
    blockers: set[str] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        return self.state not in ENDED

    @property
    def slot(self) -> str | None:
        return self.new.concurrency_key

    def move(self, state: str, reason: str | None) -> None:
        self.state, self.reason = state, reason
        if state != "running":
            self.holder = self.lease_until = None
        if state != "suspended":
            self.wake_at, self.blockers = None, set()


@dataclass
class Model:
    concurrency: dict[str, int]
    now: datetime
    tasks: list[Task] = field(default_factory=list)
    workers: dict[str, datetime] = field(default_factory=dict)  # until when each may be silent
    paused: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)

    def submit(self, new: NewTask, id: str) -> Task:
        run_at = new.run_at or self.now
        must(new.start_by is None or new.start_by > max(run_at, self.now), "out_of_range")
        taken = [task for task in self.tasks if task.is_open and new.key and task.new.key == new.key]
        if taken and new.on_conflict == "return":
            return taken[0]
        replaced = new.on_conflict == "replace" and all(task.state != "running" for task in taken)
        must(not taken or replaced, "key_taken")
        self._end(taken, "canceled", "replaced")
        task = Task(len(self.tasks), id, new, run_at)
        task.move("suspended", "blocked")
        task.blockers = self._open(new.blocked_by)
        if not task.blockers:
            self._make_ready([task])
        self.tasks.append(task)
        return task

    def cancel(self, task: Task, at_once: bool) -> None:
        must(task.state not in ("succeeded", "failed"), "wrong_state")
        if not at_once and str(task.holder).startswith("worker:"):
            task.stop = True
        elif task.is_open:
            self._end([task], "canceled", None)

    def retry(self, task: Task, id: str) -> Task:
        must(not task.is_open, "wrong_state")
        once = {"run_at": None, "start_by": None, "on_conflict": OnConflict.REJECT, "blocked_by": ()}
        return self.submit(replace(task.new, **once), id)  # type: ignore[arg-type]

    def send(self, name: str) -> bool:
        first = name not in self.sent
        self.sent.add(name)
        self._unblock({name})
        return first

    def beat(self, holder: str, lease: timedelta, *, first: bool = False) -> set[str]:
        must(first or self._lives(holder), "lease_lost")
        self.workers[holder] = self.now + lease
        return {task.id for task in self._held(holder) if task.stop}

    def leave(self, holder: str) -> None:
        if self._lives(holder):
            del self.workers[holder]
            self._give_back(self._held(holder))

    def claim(self, holder: str, queue: str, type: str, limit: int, lease: timedelta | None) -> list[Task]:
        """Workers have their lease, and people one of the task."""
        must(lease is not None or self._lives(holder), "lease_lost")
        if queue in self.paused:
            return []
        most = self.concurrency.get(queue, 1_000)
        free = most - sum(each.new.weight for each in self._in("running") if each.new.queue == queue)
        lane = [task for task in self._in("ready") if (task.new.queue, task.new.type) == (queue, type)]
        lane = [task for task in lane if task.started or not self._past(task.new.start_by)]
        lane.sort(key=lambda task: (-task.new.priority, task.run_at, task.number))
        claimed = []
        for task in [task for task in lane if task.new.weight <= most][:limit]:
            free -= task.new.weight
            if free < 0:
                break  # the first in line; who would fit waits behind it
            task.move("running", None)
            task.holder, task.started, task.claims = holder, True, task.claims + 1
            task.lease_until = lease and self.now + lease
            claimed.append(task)
        return claimed

    def extend(self, task: Task, claims: int, holder: str, lease: timedelta) -> None:
        self._must_stand(task, claims, holder)
        task.lease_until = self.now + lease

    def settle(self, task: Task, claims: int, holder: str, outcome: Outcome) -> None:
        self._must_stand(task, claims, holder)
        task.failures += isinstance(outcome, Failed) and not task.stop
        match outcome:
            case Done():
                self._end([task], "succeeded", None)
            case _ if task.stop or isinstance(outcome, Stopped):
                self._end([task], "canceled", None)
            case Failed(final=final) if final or task.failures >= (task.new.max_failures or 5):
                self._end([task], "failed", None)
            case Failed():
                self._let_go(task, "scheduled", "retry", self.now + timedelta(seconds=2**task.failures))
            case Later(delay):
                self._let_go(task, "scheduled" if delay else "ready", "later", self.now + delay)
            case Released():
                self._let_go(task, "ready", None, self.now)
            case Waits(tasks, events, until):
                blockers = self._open(tasks) - {task.id} | set(events) - self.sent
                if blockers or (until is not None and not tasks and not events):
                    self._let_go(task, "suspended", "blocked", task.run_at)
                    task.blockers, task.wake_at = blockers, until
                else:
                    self._let_go(task, "ready", None, task.run_at)

    def become_due(self) -> None:
        due = [each for each in self._in("scheduled") if self._past(each.run_at)]
        self._make_ready([*due, *(each for each in self._in("suspended") if self._past(each.wake_at))])

    def expire(self) -> None:
        late = [
            each for each in self.tasks if each.is_open and not each.started and self._past(each.new.start_by)
        ]
        self._end(late, "failed", "expired")

    def reap(self) -> None:
        for holder in [holder for holder, until in self.workers.items() if until < self.now]:
            del self.workers[holder]
            self._lose(self._held(holder))
        self._give_back([each for each in self.tasks if each.lease_until and each.lease_until < self.now])

    def _lose(self, held: Sequence[Task]) -> None:
        for task in held:
            task.losses, task.failures = task.losses + 1, task.failures + 1
            poisoned, over = task.losses >= MAX_LOSSES, task.failures >= (task.new.max_failures or 5)
            task.move("failed" if poisoned or over else "ready", "poisoned" if poisoned else "lost")
            if task.stop:
                task.move("canceled", None)
        self._after_ends([task for task in held if not task.is_open])

    def _past(self, at: datetime | None) -> bool:
        return at is not None and at <= self.now

    def _open(self, ids: Sequence[str]) -> set[str]:
        return {task.id for task in self.tasks if task.id in ids and task.is_open}

    def _lives(self, holder: str) -> bool:
        return holder in self.workers and self.workers[holder] >= self.now

    def _must_stand(self, task: Task, claims: int, holder: str) -> None:
        leased = self._lives(holder) if task.lease_until is None else task.lease_until >= self.now
        must(leased and (task.state, task.claims, task.holder) == ("running", claims, holder), "lease_lost")

    def _held(self, holder: str) -> list[Task]:
        return [task for task in self._in("running") if task.holder == holder]

    def _in(self, state: str) -> list[Task]:
        return [task for task in self.tasks if task.state == state]

    def _give_back(self, held: Sequence[Task]) -> None:
        self._end([task for task in held if task.stop], "canceled", None)
        for task in held:
            if task.is_open:
                self._let_go(task, "ready", None, task.run_at)

    def _let_go(self, task: Task, state: str, reason: str | None, run_at: datetime) -> None:
        task.move(state, reason)
        task.run_at = run_at
        if state != "ready":
            self._after_slots({task.slot})

    def _end(self, tasks: Sequence[Task], state: str, reason: str | None) -> None:
        for task in tasks:
            task.move(state, reason)
        self._after_ends(tasks)

    def _after_ends(self, ended: Sequence[Task]) -> None:
        self._after_slots({task.slot for task in ended})
        self._unblock({task.id for task in ended})

    def _unblock(self, over: set[str]) -> None:
        waiting = [task for task in self._in("suspended") if task.blockers & over]
        for task in waiting:
            task.blockers -= over
        self._make_ready([task for task in waiting if not task.blockers])

    def _has_slot(self, task: Task) -> bool:
        taken = [each for each in [*self._in("ready"), *self._in("running")] if each.slot == task.slot]
        return task.slot is None or len(taken) < task.new.concurrency_limit

    def _after_slots(self, slots: set[str | None]) -> None:
        for slot in sorted(each for each in slots if each):
            limited = [task for task in self._in("suspended") if (task.reason, task.slot) == ("limit", slot)]
            for task in sorted(limited, key=lambda each: (-each.new.priority, each.number)):
                if not self._has_slot(task):
                    break  # the first in line; who could go before it waits behind it
                self._make_ready([task])

    def _make_ready(self, tasks: Sequence[Task]) -> None:
        for task in sorted(tasks, key=lambda each: (each.slot or "", -each.new.priority, each.number)):
            task.move("suspended", "blocked")  # it has no slot while it is looked for one
            task.wake_at = None
            if not self._past(task.run_at):
                task.move("scheduled", "delayed")
            elif self._has_slot(task):
                task.move("ready", None)
            else:
                task.move("suspended", "limit")
