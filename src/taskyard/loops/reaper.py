"""The reaper: what dead workers and absent people held goes back to those who are there."""

from datetime import timedelta
from typing import Final

from taskyard.service.services import Services
from taskyard.store.records import Records
from taskyard.store.store import Store

#: How often it looks at the least. A lease that runs out sooner is known from the look before, or its beginning is news.
EVERY: Final = timedelta(seconds=10)
#: The news of leases that begin.
TOPIC: Final = "leases"
#: How often it looks at the most: a dead worker's row may be locked for a moment.
AT_MOST_EVERY: Final = timedelta(milliseconds=100)
#: Workers, and people's tasks, taken from in one transaction.
BATCH: Final = 100


class Reaper:
    """
    Args:
        every: How often it looks at the least.
    """

    def __init__(self, store: Store, services: Services, *, every: timedelta = EVERY) -> None:
        self._store = store
        self._work = services.work
        self._every = every

    def tick(self) -> timedelta:
        return self._store.write(self._reaped)

    def _reaped(self, records: Records) -> timedelta:
        """Reap, and return how long until there may be somebody to reap again."""
        if self._work.reap(records, BATCH) >= BATCH:
            return timedelta(0)
        soonest = records.workers.next_lease_end()
        if soonest is None:
            return self._every
        return max(AT_MOST_EVERY, min(self._every, soonest - records.now))
