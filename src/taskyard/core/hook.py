"""Hooks: what an organisation wants to be told of, and where; and the deliveries that tell it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from taskyard.core.errors import Fault
from taskyard.core.limits import check_name, check_text
from taskyard.core.task import Json

#: What common servers accept of a request line, many times over what anybody types.
MAX_URL_LENGTH: Final = 2_000
MAX_PATTERNS: Final = 50

#: The wire of the hooks that are made through the native API: Standard Webhooks 1.0.0.
STANDARD: Final = "standard"
#: The kind of a delivery that somebody asked for to see whether it arrives.
TEST: Final = "hook.test"
#: Hooks are not told of hooks: one that fails would be told so, and fail again.
UNTOLD: Final = "hook."

#: How long after each failure a delivery is tried again; after the last it is given up. The schedule that the Standard
#: Webhooks specification proposes: it outlives a weekend, ten attempts over some 75 hours.
RETRIES: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
)
#: What a receiver that says Retry-After may ask for at most.
MAX_RETRY_AFTER: Final = timedelta(hours=24)
JITTER: Final = 0.1
MOST_ATTEMPTS: Final = len(RETRIES) + 1


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """
    A subscription.

    Attributes:
        events: Which kinds of events: a kind (``task.succeeded``), all of a noun (``task.*``), or ``*``.
        queue: Only of this queue, when one is named.
        type: Only of tasks of this type, when one is named.
        wire: Who writes what is sent: :data:`STANDARD`, or the name of a dialect.
        settings: What that dialect remembers.
        enabled: Nothing is recorded for a hook that is not, and what was recorded waits.
        reason: Why the server itself has disabled it, if it has.
        secret, former_secret: Sealed. Until ``former_until`` deliveries are signed with both.
    """

    number: int
    id: str
    organisation: int
    url: str
    events: tuple[str, ...]
    queue: str | None
    type: str | None
    wire: str
    settings: Json
    enabled: bool
    reason: str | None
    secret: str = field(repr=False)
    former_secret: str | None = field(repr=False)
    former_until: datetime | None
    actor: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHook:
    """See :class:`Hook`."""

    url: str
    events: tuple[str, ...] = ("task.*",)
    queue: str | None = None
    type: str | None = None
    wire: str = STANDARD
    settings: Json = None
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """
    One event on its way to one hook. ``id`` is the same at every attempt: receivers know by it what they have had.

    Attributes:
        kind, subject, queue, type, data, at: The event's.
        claims: Only grows, and is the fence of who sends it.
        attempts: How often it was tried since it was recorded or asked for again.
        next_at: When it is tried again; while it is being sent, when whoever sends it counts as dead. None once it has ended.
        status: Of the last answer, if there was one.
        error: What went wrong with the last attempt.
        took: How long the last attempt took.
    """

    number: int
    id: str
    organisation: int
    hook: int
    kind: str
    subject: str
    queue: str | None
    type: str | None
    data: Json
    at: datetime
    state: DeliveryState
    claims: int
    attempts: int
    next_at: datetime | None
    sent_at: datetime | None
    status: int | None
    error: str | None
    took: timedelta | None
    finished_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What came of one attempt. Without a status there was no answer, and ``error`` says why; ``retry_after`` is what the receiver
    asked for.
    """

    status: int | None
    error: str | None = None
    retry_after: timedelta | None = None
    took: timedelta = timedelta(0)

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """RFC 9110, section 15.5.11: the receiver wants no more of it, ever."""
        return self.status == 410


def wants(events: Sequence[str], kind: str) -> bool:
    """
    Say whether a hook for *events* is told of *kind*.

    >>> wants(("task.*",), "task.succeeded"), wants(("task.failed",), "task.succeeded"), wants(("*",), "hook.changed")
    (True, False, False)
    """
    if kind.startswith(UNTOLD):
        return False
    noun = kind.partition(".")[0]
    return any(each in ("*", kind, f"{noun}.*") for each in events)


def wait_after(attempts: int, answer: Answer, *, jitter: Callable[[], float]) -> timedelta | None:
    """
    Return how long to wait after the *attempts*-th attempt has failed; None when it was the last.

    Args:
        attempts: Counted from 1.
        jitter: Returns a number in [0, 1); up to a tenth is added.
    """
    if attempts > len(RETRIES):
        return None
    wait = RETRIES[attempts - 1]
    if answer.retry_after is not None:
        wait = max(wait, min(answer.retry_after, MAX_RETRY_AFTER))
    return wait + wait * JITTER * jitter()


def check_hook(hook: NewHook | Hook) -> list[Fault]:
    """Return everything that is wrong with what was said of a hook, types included: it may come from a partial change."""
    faults = check_url(hook.url, "/url") + _check_events(hook.events, "/events")
    if hook.queue is not None:
        faults += check_name(hook.queue, "/queue", "queue name")
    if hook.type is not None:
        faults += check_name(hook.type, "/type", "task type")
    return faults + _check_enabled(hook.enabled, "/enabled")


def check_url(url: object, pointer: str) -> list[Fault]:
    """Return what is wrong with *url* as an address to send to. Whether it may be sent to is seen when it is."""
    faults = check_text(url, pointer, most=MAX_URL_LENGTH)
    if faults:
        return faults
    text = str(url)
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not text.isascii() or not text.isprintable() or " " in text:
        return [Fault(pointer, "bad_url", "this is not the URL of a receiver; say https://host/path")]
    if "@" in parts.netloc:
        return [Fault(pointer, "bad_url", "a URL with a name or a password in it would be shown to many")]
    return []


def _check_enabled(enabled: object, pointer: str) -> list[Fault]:
    return [] if isinstance(enabled, bool) else [Fault(pointer, "bad_type", "enabled is true or false")]


def _check_events(events: Any, pointer: str) -> list[Fault]:
    if not isinstance(events, tuple) or not events:
        return [Fault(pointer, "empty", "a hook is told of some events: task.succeeded, task.*, or *")]
    if len(events) > MAX_PATTERNS:
        return [Fault(pointer, "too_many", f"a hook names at most {MAX_PATTERNS} kinds of events")]
    faults: list[Fault] = []
    for index, each in enumerate(events):
        here = f"{pointer}/{index}"
        bare = each.removesuffix(".*") if isinstance(each, str) else each
        if each != "*" and check_name(bare, here):
            faults.append(
                Fault(here, "bad_kind", "an event's kind is like task.succeeded; task.* and * stand for many")
            )
    return faults
