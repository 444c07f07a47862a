"""The culler: does the culling tasks of every organisation, a little at a time."""

from datetime import timedelta
from functools import partial
from typing import Final

from taskyard.core.errors import Unavailable
from taskyard.core.outcome import Done, Failed, Outcome
from taskyard.core.task import Task
from taskyard.service.culling import Culling
from taskyard.store.records import Records
from taskyard.store.store import Store

#: They are due twice a day, so half a minute is soon.
EVERY: Final = timedelta(seconds=30)
#: As many as the janitor removes in one transaction, for the same reason.
BATCH: Final = 200


class Culler:
    """
    Args:
        every: How often it looks.
    """

    def __init__(self, store: Store, culling: Culling, *, every: timedelta = EVERY) -> None:
        self._store = store
        self._culling = culling
        self._every = every

    def tick(self) -> timedelta:
        failed: Exception | None = None
        for organisation in self._store.read(self._culling.waiting):
            try:
                for task in self._store.write(partial(self._begin, organisation)):
                    self._do(task)
            except Unavailable:
                raise
            except Exception as error:  # of one organisation; the others are not to suffer for it
                failed = error
        if failed is not None:
            raise failed
        return self._every

    def _begin(self, organisation: int, records: Records) -> list[Task]:
        return self._culling.begin(records, organisation)

    def _do(self, task: Task) -> None:
        removed = 0
        outcome: Outcome = Done()
        try:
            while part := self._store.write(lambda records: self._culling.cull(records, task, BATCH)):
                removed += part
        except Unavailable:
            raise
        except Exception as error:
            outcome = Failed(f"{type(error).__name__}: {error}")
        self._store.write(lambda records: self._culling.end(records, task, outcome, f"{removed} removed\n"))
