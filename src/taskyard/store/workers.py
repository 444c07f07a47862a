"""Workers: one row and one lease for each process, however many tasks it holds."""

from datetime import datetime

from taskyard.core.times import from_micros, to_micros
from taskyard.core.worker import Lane, Worker
from taskyard.store.engine import Connection, Row
from taskyard.store.values import from_json, json_text, micros, moment


class WorkerRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, worker: Worker) -> None:
        self._connection.run(
            "insert_worker",
            id=worker.id,
            organisation=worker.organisation,
            name=worker.name,
            lanes=json_text([[lane.queue, lane.type] for lane in worker.lanes]),
            slots=worker.slots,
            version=worker.version,
            now=to_micros(worker.started_at),
            lease_until=to_micros(worker.lease_until),
        )

    def beat(
        self,
        organisation: int,
        id: str,
        *,
        lease_until: datetime,
        claimed_at: datetime | None,
        state: str,
        now: datetime,
    ) -> bool:
        """Renew a worker's lease; False when it has run out."""
        row = self._connection.row(
            "beat",
            id=id,
            organisation=organisation,
            lease_until=to_micros(lease_until),
            claimed_at=micros(claimed_at),
            state=state,
            now=to_micros(now),
        )
        return row is not None

    def lives(self, organisation: int, id: str, now: datetime | None) -> bool:
        """Say whether a worker's lease stands, and keep the reaper from it until the transaction ends."""
        return (
            self._connection.row("live_worker", organisation=organisation, id=id, now=micros(now)) is not None
        )

    def lock(self, organisation: int, id: str, now: datetime) -> bool:
        """Say whether the worker's lease stands, and keep it from claiming and settling until the transaction ends."""
        return (
            self._connection.row("lock_worker", organisation=organisation, id=id, now=to_micros(now))
            is not None
        )

    def dead(self, now: datetime, limit: int) -> list[Worker]:
        return [
            _worker_of(row) for row in self._connection.rows("dead_workers", now=to_micros(now), limit=limit)
        ]

    def next_lease_end(self) -> datetime | None:
        """Return when the first lease runs out, unless it is renewed before."""
        row = self._connection.row("next_lease_end")
        return moment(row[0]) if row else None

    def end(self, id: str, state: str, now: datetime) -> bool:
        return bool(self._connection.run("end_worker", id=id, state=state, now=to_micros(now)))

    def get(self, organisation: int, id: str) -> Worker | None:
        row = self._connection.row("get_worker", organisation=organisation, id=id)
        return _worker_of(row) if row else None

    def live(self, organisation: int, now: datetime) -> list[Worker]:
        rows = self._connection.rows("live_workers", organisation=organisation, now=to_micros(now))
        return [_worker_of(row) for row in rows]

    def all(self, organisation: int, limit: int = 100) -> list[Worker]:
        rows = self._connection.rows("list_workers", organisation=organisation, limit=limit)
        return [_worker_of(row) for row in rows]

    def delete_before(self, before: datetime) -> int:
        return self._connection.run("delete_workers", before=to_micros(before))


def _worker_of(row: Row) -> Worker:
    id, organisation, name, lanes, slots, version, started_at, seen_at, lease_until, state, claimed_at = row
    return Worker(
        id=id,
        organisation=organisation,
        name=name,
        lanes=tuple(Lane(queue, type) for queue, type in from_json(lanes)),
        slots=slots,
        version=version,
        started_at=from_micros(started_at),
        seen_at=from_micros(seen_at),
        lease_until=from_micros(lease_until),
        state=state,
        claimed_at=moment(claimed_at),
    )
