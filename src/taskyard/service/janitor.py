"""What is old enough to be forgotten, and its removal in small parts that keep no other write waiting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from taskyard.core.queue import RETENTION, Queue
from taskyard.store.records import Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """
    How long things are kept. Ended tasks are not here: each queue says so for its own.

    Attributes:
        events: The feed; a reader who comes back after longer has missed something, and is told so.
        replies: Answers to requests with an idempotency key; the API promises at least a day.
        signals: What was sent to tasks that may yet come to wait for it.
        firings: What came of a schedule's instants, which also keeps an instant from being fired twice.
        deliveries: What was sent to hooks, or was not: also what still waits for a hook that is disabled.
        workers: Workers that are gone, for those who ask what happened.
    """

    events: timedelta = RETENTION
    replies: timedelta = timedelta(days=2)
    signals: timedelta = RETENTION
    firings: timedelta = timedelta(days=90)
    deliveries: timedelta = RETENTION
    workers: timedelta = timedelta(days=1)


Removal = Callable[[Records, int], int]


def removals(keep: Keep) -> Sequence[Removal]:
    """Return what removes each kind of thing but tasks: called with a limit, it returns how many it removed."""
    return (
        lambda records, limit: records.events.delete_before(records.now - keep.events, limit),
        lambda records, limit: records.accounts.forget_replies(records.now - keep.replies, limit),
        lambda records, limit: records.work.forget_signals(records.now - keep.signals, limit),
        lambda records, limit: records.schedules.forget_firings(records.now - keep.firings, limit),
        lambda records, limit: records.hooks.delete_before(records.now - keep.deliveries, limit),
        lambda records, limit: records.work.forget_concurrency_keys(limit),
        lambda records, _: records.workers.delete_before(records.now - keep.workers),
    )


def expired_tasks(records: Records, queue: Queue, limit: int) -> list[int]:
    """Return the numbers of up to *limit* tasks of *queue* that ended longer ago than it keeps them."""
    before = records.now - queue.settings.retention
    return records.tasks.finished_before(queue.organisation, queue.name, before, limit)


def expired_everywhere(records: Records, limit: int) -> list[list[int]]:
    """
    Return, for each queue, the numbers of up to *limit* tasks that ended longer ago than it keeps them.

    What is left of a queue that was deleted is kept as long as a queue keeps tasks that says nothing else.
    """
    queues = records.queues.every()
    there = {(queue.organisation, queue.name) for queue in queues}
    gone = [place for place in records.tasks.finished_places() if place not in there]
    before = records.now - RETENTION
    return [expired_tasks(records, queue, limit) for queue in queues] + [
        records.tasks.finished_before(organisation, name, before, limit) for organisation, name in gone
    ]
