"""What ends an attempt: a closed union, matched to the end everywhere."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from taskyard.core.task import Json


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done; ``output`` is its JSON answer."""

    output: Json = None


@dataclass(frozen=True, slots=True)
class Failed:
    """
    The attempt failed. It is tried again while tries are left, unless ``final``.

    ``after`` overrides how long to wait before the next try; None takes the standard back-off.
    """

    message: str
    code: str = "error"
    final: bool = False
    traceback: str | None = None
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Call again after ``delay``; spends no try."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Waits:
    """
    Nothing more can be done until every one of ``tasks`` has ended and every one of ``events`` was sent.

    ``until`` bounds the wait: the task becomes ready then, whatever still blocks it. With neither tasks nor events
    the task simply sleeps until then. Spends no try.
    """

    tasks: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The handler stopped because it was asked to: the task is canceled."""

    message: str | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """The holder gives the task back as it was; spends no try."""

    message: str | None = None


Outcome = Done | Failed | Later | Waits | Stopped | Released
