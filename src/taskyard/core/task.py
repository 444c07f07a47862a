"""The task and its state machine: the words, and the one table of moves that everything else obeys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from taskyard.core.swift import maker

#: Any value JSON can carry: None, bool, int, float, str, list, dict.
Json = Any


class State(StrEnum):
    """Where a task is. Why it is there goes into ``Task.reason``, never into more states."""

    SCHEDULED = "scheduled"
    READY = "ready"
    SUSPENDED = "suspended"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


OPEN: Final = frozenset({State.SCHEDULED, State.READY, State.SUSPENDED, State.RUNNING})
TERMINAL: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})
#: By their words; ten times as fast as ``State(word)``.
STATES: Final[Mapping[str, State]] = {state.value: state for state in State}


@dataclass(frozen=True, slots=True)
class Move:
    """A named change of state: the states it may leave and those it may enter."""

    leaves: frozenset[State]
    enters: frozenset[State]


def _move(leaves: str, enters: str) -> Move:
    return Move(
        frozenset(State(word) for word in leaves.split()), frozenset(State(word) for word in enters.split())
    )


#: The whole machine. A move that is not listed does not exist; ``submit`` leaves nothing.
MOVES: Final[Mapping[str, Move]] = {
    "submit": _move("", "scheduled ready suspended"),
    "become_due": _move("scheduled suspended", "ready suspended"),
    "unblock": _move("suspended", "ready scheduled suspended"),
    "claim": _move("ready", "running"),
    "succeed": _move("running", "succeeded"),
    "fail": _move("running", "failed"),
    "try_again": _move("running", "scheduled ready suspended"),
    "wait": _move("running", "suspended ready"),
    "release": _move("running", "ready"),
    "stop": _move("running", "canceled"),
    "cancel": _move("scheduled ready suspended", "canceled"),
    "expire": _move("scheduled ready suspended", "failed"),
}


class Reason(StrEnum):
    """Why a task is in its state, when the state alone does not say."""

    DELAYED = "delayed"  # scheduled: run_at was asked for
    RETRY = "retry"  # scheduled: an attempt failed and tries are left
    LATER = "later"  # scheduled: the handler asked to be called again
    BLOCKED = "blocked"  # suspended: waits for tasks, an event or a person
    LIMIT = "limit"  # suspended: its concurrency key is taken
    TIMED_OUT = "timed_out"
    LOST = "lost"
    POISONED = "poisoned"
    KILLED = "killed"  # the process that ran it died, while its worker lives
    EXPIRED = "expired"
    REPLACED = "replaced"


class OnConflict(StrEnum):
    """What a submit does when an open task has the same key."""

    RETURN = "return"
    REJECT = "reject"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Why an attempt failed: a stable code, one sentence, and the traceback where there is one."""

    code: str
    message: str
    traceback: str | None = None


DEFAULT_QUEUE: Final = "default"
DEFAULT_MAX_FAILURES: Final = 5
#: A task whose worker dies this often is failed as ``poisoned``: it is likely what kills them.
MAX_LOSSES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """
    What a submit asks for; the limits are checked by :mod:`taskyard.core.limits`.

    ``run_at`` delays the task, ``start_by`` fails it as ``expired`` if it has not started by then. ``key`` is unique among the
    organisation's open tasks. At most ``concurrency_limit`` tasks with the same ``concurrency_key`` are ready or running at a
    time. ``timeout`` bounds one attempt. ``max_failures`` of None takes the queue's. ``blocked_by`` holds ids of tasks that
    must end first.
    """

    type: str
    queue: str = DEFAULT_QUEUE
    input: Json = None
    target: str | None = None
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    on_conflict: OnConflict = OnConflict.REJECT
    run_at: datetime | None = None
    start_by: datetime | None = None
    timeout: timedelta | None = None
    max_failures: int | None = None
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    weight: int = 1
    parent: str | None = None
    schedule: str | None = None
    rule: str | None = None
    retry_of: str | None = None
    origin: str = "native"
    trace: str | None = None
    blocked_by: tuple[str, ...] = ()
    id: str | None = None
    report: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """
    One piece of work, as it is now.

    ``claims`` is the fence and ``failures`` the retry budget spent. ``wake_at`` bounds how long a suspended task waits.
    ``settled_by`` is who held the attempt that ended the task; None while it is open, and when nobody had it.
    """

    number: int
    id: str
    organisation: int
    type: str
    queue: str
    state: State
    reason: str | None
    priority: int
    target: str | None
    input: Json
    labels: Mapping[str, str]
    key: str | None
    concurrency_key: str | None
    concurrency_limit: int
    weight: int
    run_at: datetime
    wake_at: datetime | None
    start_by: datetime | None
    created_at: datetime
    started_at: datetime | None
    attempted_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    claims: int
    failures: int
    losses: int
    max_failures: int
    timeout: timedelta | None
    holder: str | None
    lease_until: datetime | None
    progress: Json
    message: str | None
    output: Json
    error: Error | None
    parent: str | None
    schedule: str | None
    rule: str | None
    retry_of: str | None
    report: Json
    actor: str
    origin: str
    trace: str | None
    cancel_requested_at: datetime | None
    settled_by: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled for every attempt of a process handler: field by field, as a frozen record is otherwise, takes five times as long.
        return make_task, _fields_of(self)


_fields_of: Final = attrgetter(*(field.name for field in fields(Task)))
_make: Final = maker(Task)


def make_task(*values: Any) -> Task:
    """Return a Task of the values of all its fields, in their order; see :func:`maker`."""
    return _make(*values)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move leaves behind that others must know of; a whole Task costs three times as much to read back."""

    number: int
    id: str
    organisation: int
    queue: str
    type: str
    state: State
    reason: str | None
    claims: int
    holder: str | None
    concurrency_key: str | None
    wakes: bool

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


#: What may be asked of a task, by its state; people and programs are told these when they ask for something else.
ACTIONS: Final[Mapping[State, tuple[str, ...]]] = {
    State.SCHEDULED: ("cancel", "run_now"),
    State.READY: ("cancel", "claim"),
    State.SUSPENDED: ("cancel",),
    State.RUNNING: ("cancel", "extend", "settle", "release"),
    State.SUCCEEDED: ("retry",),
    State.FAILED: ("retry",),
    State.CANCELED: ("retry",),
}
