"""The roller: carries rollouts on, from rack to rack and from phase to phase."""

from datetime import timedelta
from functools import partial
from typing import Final

from taskyard.core.errors import Unavailable
from taskyard.service.rollouts import TOPIC, Rollouts
from taskyard.store.records import Records
from taskyard.store.store import Store

__all__ = ["TOPIC", "Roller"]

#: How soon what has ended on one rack lets the next begin; an operation takes minutes.
EVERY: Final = timedelta(seconds=2)
#: With nothing to carry on, only news that was missed has to be noticed.
IDLE: Final = timedelta(seconds=30)


class Roller:
    def __init__(self, store: Store, rollouts: Rollouts) -> None:
        self._store = store
        self._rollouts = rollouts

    def tick(self) -> timedelta:
        numbers = self._store.read(lambda records: records.rollouts.open())
        failed: Exception | None = None
        for number in numbers:
            try:
                self._store.write(partial(self._carry_on, number))
            except Unavailable:
                raise
            except Exception as error:  # one that cannot go on must not hold up the others
                failed = error
        if failed is not None:
            raise failed
        return EVERY if numbers else IDLE

    def _carry_on(self, number: int, records: Records) -> None:
        self._rollouts.carry_on(records, number)
