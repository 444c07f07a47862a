"""The worker: a process that runs tasks under one lease of its own."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: How long a worker may be silent before its tasks are given to others.
LEASE: Final = timedelta(seconds=30)
#: Beats per lease: after two missed ones there is still time for a third.
BEATS_PER_LEASE: Final = 6


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """One kind of work: tasks of ``type`` in ``queue``. A worker claims from lanes, so what it cannot run is not in its way."""

    queue: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as the store knows it. ``id`` is fresh for every process start, so a restart cannot pass for the dead."""

    id: str
    organisation: int
    name: str
    lanes: tuple[Lane, ...]
    slots: int
    version: str
    started_at: datetime
    seen_at: datetime
    lease_until: datetime
    state: str  # active, draining, gone
    claimed_at: datetime | None

    @property
    def holder(self) -> str:
        return f"worker:{self.id}"
