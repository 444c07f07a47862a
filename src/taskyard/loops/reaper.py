"""The reaper: what dead workers and absent people held goes back to those who are there."""

from datetime import timedelta
from typing import Final

from taskyard.core.worker import LEASE
from taskyard.service.services import Services
from taskyard.store.store import Store

#: A death is noticed at most this long after its lease has run out.
EVERY: Final = max(timedelta(seconds=5), LEASE / 3)
#: Workers, and people's tasks, taken from in one transaction.
BATCH: Final = 100


class Reaper:
    """
    Args:
        every: How often it looks.
    """

    def __init__(self, store: Store, services: Services, *, every: timedelta = EVERY) -> None:
        self._store = store
        self._work = services.work
        self._every = every

    def tick(self) -> timedelta:
        taken = self._store.write(lambda records: self._work.reap(records, BATCH))
        return timedelta(0) if taken >= BATCH else self._every
