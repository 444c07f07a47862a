"""The rollout: one operation carried over many racks, phase by phase, a few at a time, stopping where too much fails."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Self

from taskyard.core.errors import Invalid
from taskyard.core.operation import Operation
from taskyard.core.times import span, span_micros


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    MIXED = "mixed"  # some of it failed
    FAILED = "failed"  # all of it failed
    CANCELED = "canceled"


class Why(StrEnum):
    """Why a rollout is paused."""

    OPERATOR = "operator"
    PHASE = "phase"  # a phase has ended, and somebody is to look before the next
    SAFETY = "safety"
    CONFLICT = "conflict"  # a rack stayed busy for too long


class Outcome(StrEnum):
    """What has become of one rack of a rollout."""

    PENDING = "pending"
    BLOCKED = "blocked"  # the rack is busy; it is tried again
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"
    SKIPPED = "skipped"


OPEN: Final = frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED})
OVER: Final = frozenset({Outcome.COMPLETED, Outcome.FAILED, Outcome.TERMINATED, Outcome.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Pauses when so many (``count``), or so many of a hundred (``percent``), have failed: of the phase, or of all so far."""

    percent: int | None = None
    count: int | None = None
    of_all: bool = False

    def trips(self, failed: int, planned: int) -> bool:
        if self.count is not None:
            return failed >= self.count
        return failed > 0 and self.percent is not None and failed * 100 >= self.percent * planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a busy rack is waited for, and how long between two tries: *first*, then twice as long each time, up to *most*."""

    total: timedelta = timedelta(minutes=30)
    first: timedelta = timedelta(seconds=10)
    most: timedelta = timedelta(minutes=5)

    def delay(self, tries: int) -> timedelta:
        """Return how long to wait after the *tries*-th try in vain, counted from 1."""
        return min(self.most, self.first * (1 << min(tries - 1, 20)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``most_at_once`` racks are worked at at a time. ``is_automatic`` goes from phase to phase without asking."""

    most_at_once: int = 1
    is_automatic: bool = False
    gates: tuple[Gate, ...] = ()
    patience: Patience = Patience()

    def document(self) -> dict[str, Any]:
        """Return the policy as JSON; :meth:`of` reads it back."""
        return {
            "most_at_once": self.most_at_once,
            "is_automatic": self.is_automatic,
            "gates": [
                {"percent": gate.percent, "count": gate.count, "of_all": gate.of_all} for gate in self.gates
            ],
            "patience": [span_micros(each) for each in _spans(self.patience)],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        total, first, most = (span(each) for each in document["patience"])
        return cls(
            most_at_once=document["most_at_once"],
            is_automatic=document["is_automatic"],
            gates=tuple(Gate(**gate) for gate in document["gates"]),
            patience=Patience(total=total, first=first, most=most),
        )


def _spans(patience: Patience) -> tuple[timedelta, ...]:
    return patience.total, patience.first, patience.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """
    ``wanted`` is what is done to each rack; ``phase`` the one it is in, from 0. ``accepted`` is how many failures somebody has
    seen and gone on in spite of.
    """

    number: int
    id: str
    organisation: int
    site: str
    name: str
    description: str
    operation: Operation
    code: str
    wanted: Mapping[str, Any]
    policy: Policy
    status: Status
    why: Why | None
    message: str
    phases: int
    phase: int
    accepted: int
    actor: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One rack of a rollout. ``tries`` and the times beside it are of the tries in vain while it is blocked."""

    number: int
    id: str
    rack: str
    sequence: int
    phase: int
    task: str | None
    outcome: Outcome
    message: str
    tries: int
    blocked_at: datetime | None
    retry_at: datetime | None
    created_at: datetime
    updated_at: datetime


# -- planning --------------------------------------------------------------------------------------------------------------


def chosen(racks: Sequence[str], percent: int, seed: str) -> list[str]:
    """
    Return *percent* of *racks*, rounded up, in their order; the same ones for the same seed.

    >>> len(chosen(["a", "b", "c"], 34, "x"))
    2
    """
    most = -(-len(racks) * percent // 100)
    drawn = set(sorted(racks, key=lambda rack: sha256(f"{seed}/{rack}".encode()).digest())[:most])
    return [rack for rack in racks if rack in drawn]


def shuffled(racks: Sequence[str], seed: str) -> list[str]:
    """Return *racks* in an order that looks like none; the same for the same seed."""
    return random.Random(seed).sample(list(racks), len(racks))


def equal_phases(targets: int, phases: int) -> list[int]:
    """
    Return the sizes of so many phases, as equal as can be.

    >>> equal_phases(7, 3)
    [3, 2, 2]
    """
    share, more = divmod(targets, phases)
    return _filled([share + (index < more) for index in range(phases)])


def phases_by_percent(targets: int, percents: Sequence[int]) -> list[int]:
    """
    Return the sizes of phases that each take their part of a hundred.

    >>> phases_by_percent(10, [10, 40, 50])
    [1, 4, 5]
    """
    if sum(percents) != 100:
        raise Invalid(f"the percentages of the phases add up to {sum(percents)}, not to 100", code="phases")
    ends = [targets * sum(percents[: index + 1]) // 100 for index in range(len(percents))]
    return _filled([end - begin for begin, end in zip([0, *ends], ends, strict=False)])


def phases_by_count(targets: int, counts: Sequence[int]) -> list[int]:
    """
    Return *counts*, and a last phase of what they leave.

    >>> phases_by_count(10, [1, 2])
    [1, 2, 7]
    """
    left = targets - sum(counts)
    if left < 0:
        raise Invalid(f"the phases take {sum(counts)} racks, and {targets} are selected", code="phases")
    return _filled([*counts, left] if left else list(counts))


def _filled(sizes: list[int]) -> list[int]:
    if 0 in sizes:
        raise Invalid(f"phase {sizes.index(0)} would have no rack; take fewer phases", code="phases")
    return sizes
