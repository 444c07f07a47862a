"""The moves as statements: claim, settle, block and unblock, and the looks they need."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from taskyard.core.limits import MAX_CONCURRENCY
from taskyard.core.swift import maker
from taskyard.core.task import STATES, Json, Moved, Task
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.tasks import task_of
from taskyard.store.values import from_json, json_text, micros, moment


class WorkRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(
        self,
        organisation: int,
        queue: str,
        type: str,
        *,
        holder: str,
        at_least: int,
        limit: int,
        lease_until: datetime | None,
        now: datetime | None,
    ) -> list[Task]:
        """Give the first *limit* ready tasks of a lane, of priority *at_least*, to *holder*; most urgent first."""
        return _in_claim_order(
            self._all(
                "claim_ready",
                organisation=organisation,
                queue=queue,
                type=type,
                holder=holder,
                at_least=at_least,
                limit=limit,
                lease_until=micros(lease_until),
                now=micros(now),
            )
        )

    def pick(
        self,
        organisation: int,
        queue: str,
        type: str,
        *,
        at_least: int,
        heaviest: int | None,
        limit: int,
        now: datetime,
    ) -> list[tuple[int, int]]:
        """Return (number, weight) of the first ready tasks of a lane, of priority *at_least*, untouched."""
        rows = self._connection.rows(
            "pick_ready",
            organisation=organisation,
            queue=queue,
            type=type,
            at_least=at_least,
            heaviest=MAX_CONCURRENCY if heaviest is None else heaviest,
            limit=limit,
            now=to_micros(now),
        )
        return [(number, weight) for number, weight in rows]

    def claim_numbers(
        self, numbers: Sequence[int], *, holder: str, lease_until: datetime | None, now: datetime | None
    ) -> list[Task]:
        if not numbers:
            return []
        return _in_claim_order(
            self._all(
                "claim_numbers",
                numbers=list(numbers),
                holder=holder,
                lease_until=micros(lease_until),
                now=micros(now),
            )
        )

    def ready_types(self, organisation: int, queue: str) -> list[str]:
        """Return the types that have ready tasks in *queue*, however many tasks there are."""
        return [
            row[0] for row in self._connection.rows("ready_lanes", organisation=organisation, queue=queue)
        ]

    def heads(self, organisation: int, queue: str, types: Sequence[str], now: datetime) -> dict[str, int]:
        """Return the priority of the most urgent ready task of each of *types*, of those that have any."""
        ready = set(self.ready_types(organisation, queue))
        heads = {type: self.head(organisation, queue, type, now) for type in types if type in ready}
        return {type: -head[0] for type, head in heads.items() if head is not None}

    def head(self, organisation: int, queue: str, type: str, now: datetime) -> tuple[int, int, int] | None:
        """Return the sort key of a lane's first ready task; the least is the most urgent. None when the lane is empty."""
        row = self._connection.row(
            "lane_heads", organisation=organisation, queue=queue, type=type, now=to_micros(now)
        )
        return (-row[0], row[1], row[2]) if row else None

    def ahead(self, task: Task, type: str, most: int) -> tuple[int, int]:
        """
        Return how many ready tasks of *type* in the queue of *task* go before it, each counted up to *most*: those more
        urgent, and those as urgent that have been ready for longer.
        """
        row = self._connection.row(
            "ahead_in_lane",
            organisation=task.organisation,
            queue=task.queue,
            type=type,
            priority=task.priority,
            run_at=to_micros(task.run_at),
            number=task.number,
            most=most,
        )
        return (row[0], row[1]) if row else (0, 0)

    def running_ids(self, organisation: int, queue: str, limit: int) -> list[str]:
        """Return the first running tasks of a queue; a look that locks nothing."""
        rows = self._connection.rows("running_ids", organisation=organisation, queue=queue, limit=limit)
        return [row[0] for row in rows]

    def held_ids(self, organisation: int, holder: str, limit: int) -> list[str]:
        """Return the first tasks *holder* has; a look that locks nothing."""
        rows = self._connection.rows("held_ids", organisation=organisation, holder=holder, limit=limit)
        return [row[0] for row in rows]

    def organisations_with_ready(self, queue: str) -> list[int]:
        """Return the organisations that have a ready task in their queue of that name."""
        return [row[0] for row in self._connection.rows("organisations_with_ready", queue=queue)]

    def running_weight(self, organisation: int, queue: str) -> int:
        row = self._connection.row("running_weight", organisation=organisation, queue=queue)
        return int(row[0]) if row else 0

    def lock_attempts(self, numbers: Sequence[int]) -> dict[int, Task]:
        """Return the running ones of some tasks by number, locked."""
        if not numbers:
            return {}
        return {task.number: task for task in self._all("lock_attempts", numbers=list(numbers))}

    def settle(self, endings: Sequence[Mapping[str, Value]]) -> dict[int, Moved]:
        """End attempts as given; return those that were still the holder's, by number."""
        return {row[0]: _moved_of(row) for row in self._connection.rows_for_each("settle_attempts", endings)}

    def extend(self, task: Task, until: datetime, now: datetime) -> Task | None:
        """Move the lease on; None when the attempt is no longer the holder's."""
        row = self._connection.row(
            "extend_lease",
            organisation=task.organisation,
            number=task.number,
            claims=task.claims,
            holder=task.holder,
            lease_until=to_micros(until),
            now=to_micros(now),
        )
        return task_of(row) if row else None

    def end_open(self, endings: Sequence[Mapping[str, Value]]) -> dict[int, Moved]:
        """End tasks nobody holds; return those that ended, by number."""
        return {row[0]: _moved_of(row) for row in self._connection.rows_for_each("end_open", endings)}

    def ask_to_stop(self, numbers: Sequence[int], now: datetime) -> list[Moved]:
        if not numbers:
            return []
        return [
            _moved_of(row)
            for row in self._connection.rows("ask_to_stop", numbers=list(numbers), now=to_micros(now))
        ]

    def spend_tries(self, number: int, now: datetime) -> bool:
        """Leave a running task no further try; False when it does not run."""
        return bool(self._connection.run("spend_tries", number=number, now=to_micros(now)))

    def stops(self, holder: str) -> list[tuple[str, int, int]]:
        """Return (id, number, claims) of what *holder* runs and is asked to stop."""
        return [
            (id, number, claims)
            for id, number, claims in self._connection.rows("stops_of_holder", holder=holder)
        ]

    def held(self, holder: str) -> list[Task]:
        return self._all("held_tasks", holder=holder)

    def holds(self, organisation: int, number: int, id: str, claims: int, holder: str) -> bool:
        """Say whether this very attempt is still the holder's, and keep it so until the transaction ends."""
        row = self._connection.row(
            "holds_attempt", organisation=organisation, number=number, claims=claims, holder=holder
        )
        return row is not None and row[0] == id

    def overdue(self, now: datetime, limit: int) -> list[Task]:
        return self._all("overdue_leases", now=to_micros(now), limit=limit)

    def due(self, now: datetime, limit: int) -> list[Task]:
        return self._all("due_tasks", now=to_micros(now), limit=limit)

    def waking(self, now: datetime, limit: int) -> list[Task]:
        return self._all("waking_tasks", now=to_micros(now), limit=limit)

    def expired(self, now: datetime, limit: int) -> list[Task]:
        return self._all("expired_tasks", now=to_micros(now), limit=limit)

    def next_due_at(self) -> datetime | None:
        row = self._connection.row("next_due_at")
        return moment(row[0]) if row else None

    def put_open(self, rows: Sequence[Mapping[str, Value]]) -> list[Moved]:
        """Make scheduled or suspended tasks ready, or suspended for another reason."""
        return [_moved_of(row) for row in self._connection.rows_for_each("put_open", rows)]

    def any_ready(self, organisation: int, queues: Sequence[str]) -> bool:
        """Say whether anything at all is ready in *queues*."""
        return self._connection.row("any_ready", organisation=organisation, queues=list(queues)) is not None

    def lock_concurrency_key(self, organisation: int, key: str) -> None:
        self._connection.run("lock_concurrency_key", organisation=organisation, key=key)

    def taken_slots(self, organisation: int, key: str) -> int:
        row = self._connection.row("taken_slots", organisation=organisation, key=key)
        return int(row[0]) if row else 0

    def limited(self, organisation: int, key: str, limit: int) -> list[Task]:
        """Return the first tasks that wait for a slot of *key*."""
        return self._all("limited_tasks", organisation=organisation, key=key, limit=limit)

    def slot_holders(self, organisation: int, key: str, limit: int) -> list[str]:
        rows = self._connection.rows("slot_holders", organisation=organisation, key=key, limit=limit)
        return [row[0] for row in rows]

    def block(self, rows: Sequence[tuple[int, str, str]]) -> None:
        """Add blockers, given as (task number, kind, subject)."""
        self._connection.rows_for_each(
            "insert_blockers",
            [{"task": task, "kind": kind, "subject": subject} for task, kind, subject in rows],
        )

    def blocked_by(self, kind: str, subjects: Sequence[str]) -> list[int]:
        """Return the numbers of the tasks that wait for any of *subjects*, in order."""
        if not subjects:
            return []
        return [row[0] for row in self._connection.rows("blocked_by", kind=kind, subjects=list(subjects))]

    def unblock(self, kind: str, subjects: Sequence[str]) -> None:
        self._connection.run("delete_blockers_of_subjects", kind=kind, subjects=list(subjects))

    def clear_blockers(self, numbers: Sequence[int]) -> None:
        if numbers:
            self._connection.run("delete_blockers_of_tasks", numbers=list(numbers))

    def still_blocked(self, numbers: Sequence[int]) -> set[int]:
        return (
            {row[0] for row in self._connection.rows("still_blocked", numbers=list(numbers))}
            if numbers
            else set()
        )

    def blockers(self, task: Task, limit: int = 100) -> list[tuple[str, str]]:
        """Return (kind, subject) of what *task* waits for, at most *limit*."""
        rows = self._connection.rows("blockers_of_task", task=task.number, limit=limit)
        return [(kind, subject) for kind, subject in rows]

    def open_ids(self, organisation: int, ids: Sequence[str]) -> set[str]:
        """Return which of *ids* have not ended; they cannot end until the transaction does."""
        if not ids:
            return set()
        return {row[0] for row in self._connection.rows("open_ids", organisation=organisation, ids=list(ids))}

    def signal(self, organisation: int, name: str) -> tuple[Json, datetime] | None:
        """Return (payload, when) of what was sent under *name*; None when nothing was."""
        row = self._connection.row("get_signal", organisation=organisation, name=name)
        return (from_json(row[0]), from_micros(row[1])) if row else None

    def send(self, organisation: int, name: str, payload: Json, now: datetime) -> bool:
        """Keep what is sent under *name*; False when something was sent before."""
        row = self._connection.row(
            "insert_signal",
            organisation=organisation,
            name=name,
            payload=json_text(payload),
            now=to_micros(now),
        )
        return row is not None

    def forget_signals(self, before: datetime, limit: int) -> int:
        return self._connection.run("delete_signals", before=to_micros(before), limit=limit)

    def forget_concurrency_keys(self, limit: int) -> int:
        """Remove the rows of keys that no task is ready or running under."""
        return self._connection.run("delete_idle_keys", limit=limit)

    def _all(self, statement: str, **values: Value) -> list[Task]:
        return [task_of(row) for row in self._connection.rows(statement, **values)]


_make_moved: Final = maker(Moved)


def _moved_of(row: Row) -> Moved:
    number, id, organisation, queue, type, state, reason, claims, holder, concurrency_key, wake_at = row
    return _make_moved(
        number, id, organisation, queue, type, STATES[state], reason, claims, holder, concurrency_key, wake_at is not None
    )  # fmt: skip


def _in_claim_order(tasks: list[Task]) -> list[Task]:
    tasks.sort(key=lambda task: (-task.priority, task.run_at, task.number))
    return tasks
