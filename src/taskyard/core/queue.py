"""The queue: where tasks of one kind wait, and the limits they wait under."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from taskyard.core.task import DEFAULT_MAX_FAILURES, Json


class Kind(StrEnum):
    MACHINE = "machine"
    HUMAN = "human"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``count`` starts in any window of ``period``."""

    count: int
    period: timedelta


#: How long a person keeps a task that was claimed and not touched.
HUMAN_LEASE: Final = timedelta(hours=8)
RETENTION: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What a queue's owner chooses. ``concurrency`` bounds the sum of running tasks' weights; None is unlimited."""

    kind: Kind = Kind.MACHINE
    title: str | None = None
    paused: bool = False
    concurrency: int | None = None
    rate: RateLimit | None = None
    lease: timedelta = HUMAN_LEASE
    max_failures: int = DEFAULT_MAX_FAILURES
    retention: timedelta = RETENTION
    form: Json = None
    settings: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    number: int
    organisation: int
    name: str
    settings: QueueSettings
    created_at: datetime
    updated_at: datetime
