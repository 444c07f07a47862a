"""The table of what is answered: a module for each noun, in the order of the documentation."""

from collections.abc import Sequence

from taskyard.dialects.native.routes import (
    accounts,
    events,
    hooks,
    inbox,
    leases,
    lists,
    queues,
    schedules,
    tasks,
)
from taskyard.http.backend import Backend
from taskyard.http.dialect import Path
from taskyard.http.operation import Operation, paths_of

OPERATIONS: Sequence[Operation] = (
    *tasks.OPERATIONS,
    *lists.OPERATIONS,
    *inbox.OPERATIONS,
    *queues.OPERATIONS,
    *schedules.OPERATIONS,
    *events.OPERATIONS,
    *hooks.OPERATIONS,
    *leases.OPERATIONS,
    *accounts.OPERATIONS,
)


def paths(_: Backend) -> list[Path]:
    return paths_of(OPERATIONS)
