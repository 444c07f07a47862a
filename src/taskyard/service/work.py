"""Work: who does it, how it is begun, spoken of and ended, by workers and people alike; and what happens to those that died."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, LeaseLost
from taskyard.core.limits import MAX_PAYLOAD_BYTES
from taskyard.core.worker import Lane, Worker
from taskyard.service.claims import Claims
from taskyard.service.holds import WORKER
from taskyard.service.reports import Reports
from taskyard.service.settling import Settling
from taskyard.service.tasks import Tasks
from taskyard.store.engine import Duplicate
from taskyard.store.records import Records


class Work(Claims, Reports, Settling):
    """
    The life of attempts: :class:`Claims` begins them, :class:`Reports` is what is said meanwhile, :class:`Settling` ends them.

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
