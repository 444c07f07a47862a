"""The janitor: removes what is old enough to be forgotten, a little at a time, and lets the database tidy up."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from taskyard.service.janitor import Keep, Removal, expired_everywhere, removals
from taskyard.store.records import Records
from taskyard.store.store import Store

EVERY: Final = timedelta(minutes=5)
#: A task takes its labels, steps, results and logs along, so this many keep the writer for some ten milliseconds.
BATCH: Final = 200
#: Between two batches others write; this is for the readers and the disk.
PAUSE: Final = timedelta(milliseconds=100)


class Janitor:
    """
    One tick removes at most a batch of each kind, and comes back soon while there is more.

    Args:
        keep: How long things are kept.
        every: How often it looks when there was little to do.
    """

    def __init__(self, store: Store, keep: Keep, *, every: timedelta = EVERY) -> None:
        self._store = store
        self._removals = removals(keep)
        self._every = every

    def tick(self) -> timedelta:
        full = [self._remove(removal) for removal in self._removals]
        if self._remove_tasks() or any(full):
            return PAUSE
        self._store.database.maintain()
        return self._every

    def _remove(self, removal: Removal) -> bool:
        """Remove a batch; say whether there may be more."""
        return self._store.write(lambda records: removal(records, BATCH)) >= BATCH

    def _remove_tasks(self) -> bool:
        """Remove a batch of ended tasks from each queue, found by a read: it must not keep the writer from its work."""
        found = self._store.read(lambda records: expired_everywhere(records, BATCH))
        for numbers in filter(None, found):
            self._store.write(partial(_delete, numbers))
        return any(len(numbers) >= BATCH for numbers in found)


def _delete(numbers: Sequence[int], records: Records) -> int:
    return records.tasks.delete(numbers)
