"""The scheduler: what waits for a time is moved on when it has come, and schedules fire."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from taskyard.core.errors import Unavailable
from taskyard.service.services import Services
from taskyard.store.records import Records
from taskyard.store.store import Store

#: News of a time that may be earlier than all others.
TOPIC: Final = "due"
#: How long it sleeps at most: what another process set may have come without news, and the clock may have been set.
LONGEST: Final = timedelta(seconds=10)
#: How soon it looks again when something is due that could not be moved: another node is at it.
AGAIN: Final = timedelta(seconds=1)
#: How many tasks are moved in one transaction, so that it delays nobody else's for long.
TASKS: Final = 500
#: A schedule that makes up for a long outage submits up to a thousand tasks, so there are fewer of them to a transaction.
SCHEDULES: Final = 20


#: Moves on up to so many of what is due, and returns how many they were.
Move = Callable[[Records, int], int]


class Scheduler:
    """Idle, it asks one question and sleeps until the answer."""

    def __init__(self, store: Store, services: Services) -> None:
        self._store = store
        self._moves: tuple[tuple[Move, int], ...] = (
            (services.tasks.become_due, TASKS),
            (services.tasks.expire, TASKS),
            (services.schedules.fire_due, SCHEDULES),
        )

    def tick(self) -> timedelta:
        now, due_at = self._store.read(_next_due)
        if due_at is None or due_at > now:
            return LONGEST if due_at is None else min(LONGEST, due_at - now)
        return timedelta(0) if self._move() else AGAIN

    def _move(self) -> int:
        """Make each move in a transaction of its own, so that one that fails does not hold up the others."""
        moved, failed = 0, None
        for move, limit in self._moves:
            try:
                moved += self._store.write(partial(_limited, move, limit))
            except Unavailable:
                raise
            except Exception as error:
                failed = error
        if failed is not None:
            raise failed
        return moved


def _limited(move: Move, limit: int, records: Records) -> int:
    return move(records, limit)


def _next_due(records: Records) -> tuple[datetime, datetime | None]:
    return records.now, records.work.next_due_at()
