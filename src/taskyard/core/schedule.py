"""The schedule: what submits tasks at instants, and what it does about instants it missed and runs that overlap."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from taskyard.core.task import Json, NewTask


class Timing(StrEnum):
    """How instants are given: ``at`` an RFC 3339 time, ``interval`` ISO 8601 ``[R<n>/][<start>/]P…``, ``cron`` five fields."""

    AT = "at"
    INTERVAL = "interval"
    CRON = "cron"


class CatchUp(StrEnum):
    """What to do about instants that passed while no node was up."""

    SKIP = "skip"
    ONE = "one"
    ALL = "all"


class Overlap(StrEnum):
    """What to do at an instant when the last run has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """
    What a new schedule asks for.

    ``runs`` bounds how often it fires; None is without end. After ``failure_threshold`` runs in a row have failed it
    pauses itself; None never. ``settings`` is kept for the faces and means nothing to the engine.
    """

    name: str
    timing: Timing
    spec: str
    template: NewTask
    timezone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP
    paused: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    runs: int | None = None
    failure_threshold: int | None = None
    settings: Json = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    number: int
    id: str
    organisation: int
    name: str
    timing: Timing
    spec: str
    timezone: str
    template: NewTask
    catch_up: CatchUp
    overlap: Overlap
    paused: bool
    starts_at: datetime | None
    ends_at: datetime | None
    runs_left: int | None
    failure_threshold: int | None
    settings: Any
    next_at: datetime | None
    last_at: datetime | None
    actor: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """
    One instant of a schedule and what came of it: ``submitted``, ``overlapped``, ``missed``, ``refused`` (the task could not
    be submitted) or ``paused`` (too many runs in a row had failed).
    """

    fire_at: datetime
    task: str | None
    outcome: str
    created_at: datetime
