"""Claim: what workers and people are given to do, as the limits of queues allow."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, LeaseLost, LimitReached, NotFound, WrongState
from taskyard.core.limits import MAX_PRIORITY
from taskyard.core.queue import Queue
from taskyard.core.task import ACTIONS, State, Task
from taskyard.core.worker import Lane
from taskyard.service.holds import WORKER, is_overdue, lives
from taskyard.service.rate import opens_at, starts_left, with_starts
from taskyard.store.records import Records


@dataclass(frozen=True, slots=True)
class _Place:
    """Where is claimed, for whom and until when; ``found`` is the queue as it is stored, if it is."""

    organisation: int
    queue: str
    found: Queue | None
    holder: str
    lease_until: datetime | None


class Claims:
    """
    A part of :class:`taskyard.service.work.Work`: the beginnings of attempts.

    ``_jitter`` turns whose share comes first.
    """

    _jitter: Callable[[], float]

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
        return self.claim_with_queues(records, actor, worker, lanes, limit)[0]

    def claim_with_queues(
        self, records: Records, actor: Actor, worker: str, lanes: Sequence[Lane], limit: int
    ) -> tuple[list[Task], Mapping[str, Queue]]:
        """Do the same, and return also the queues of the lanes, by name: who got less than he has room for minds their limits."""
        self._check_lives(records, actor, worker)
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
        return claimed, queues

    def unheard(
        self, records: Records, actor: Actor, worker: str, known: Collection[tuple[int, int]]
    ) -> list[Task]:
        """
        Return what a worker holds and has not heard of: what it claimed when the answer was lost on its way. Its beats would keep
        that for ever.

        Args:
            known: The numbers of the tasks it knows that it holds, each with the number of its claim.

        Raises:
            LeaseLost: the worker's lease ran out.
        """
        held = self._held(records, actor, worker)
        return [task for task in held if (task.number, task.claims) not in known]

    def claimed_before(
        self, records: Records, actor: Actor, worker: str, known: Collection[tuple[int, int]]
    ) -> list[Task]:
        """
        Return what a worker still holds of what it claimed before.

        Args:
            known: The numbers of the tasks that were claimed, each with the number of its claim.

        Raises:
            LeaseLost: the worker's lease ran out.
        """
        held = self._held(records, actor, worker)
        return [task for task in held if (task.number, task.claims) in known]

    def _held(self, records: Records, actor: Actor, worker: str) -> list[Task]:
        self._check_lives(records, actor, worker)
        return records.work.held(WORKER + worker)

    def _check_lives(self, records: Records, actor: Actor, worker: str) -> None:
        actor.require(Permission.WORK)
        if not lives(records, actor.organisation, worker):
            raise LeaseLost(f"held by worker {worker}", 0)

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
                now=records.time,
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
        if task.holder == actor.identity and not is_overdue(task, records.now):
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
            "started", task, records.time, {"attempt": task.claims, "holder": task.holder}
        )
        return task


def _is_limited(queue: Queue) -> bool:
    return queue.settings.concurrency is not None or queue.settings.rate is not None


def rate_opens_at(records: Records, queue: Queue) -> datetime | None:
    """Return when the queue's rate limit lets the next task start; None when it does now."""
    if queue.settings.rate is None:
        return None
    return opens_at(records.queues.rate_log(queue.organisation, queue.name), queue.settings.rate, records.now)
