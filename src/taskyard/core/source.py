"""Sources: whose data is fetched from where, the sessions in which that is allowed, and the polls that do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from taskyard.core.task import Error, Json, State

#: Where the tasks of sources and destinations wait.
QUEUE: Final = "sources"
#: The type of the task that opens a session, and of those that fetch, by what a poll calls what it wants.
OPEN: Final = "session.init"
FETCH: Final[Mapping[str, str]] = {
    "info_types": "source.info",
    "data_types": "source.data",
    "files": "source.files",
}
#: Instead of an info type: whatever there is.
EVERYTHING: Final = "*"

ACTIVE: Final = "active"
DEACTIVATED: Final = "deactivated"
UNVALIDATED: Final = "unvalidated"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndUser:
    """Somebody whose data is fetched; not somebody who signs in here. ``key`` is the number of the key that brought them."""

    number: int
    organisation: int
    key: int | None
    identifier: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    A place that has data of an end user; ``type`` names the connector that talks to it.

    ``unvalidated`` until a session with it has opened once. ``parent`` is the number of the source it was found in.
    """

    number: int
    organisation: int
    user: int
    type: str
    identifier: str
    parent: int | None
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """
    Leave to fetch from a source. A task opens it, and what became of that task is what became of the session.

    ``credentials`` is sealed: what it takes to open, and later what opening gave. ``task_state`` is that of the opening task;
    None when that is long gone.
    """

    number: int
    id: str
    organisation: int
    key: int | None
    user: int
    source: int
    task: str
    credentials: str | None = field(repr=False)
    opened_at: datetime | None
    expired_at: datetime | None
    expired_by: str | None
    created_at: datetime
    task_state: State | None
    task_error: Error | None

    @property
    def state(self) -> str:
        """Return ``pending``, ``active``, ``failed`` or ``expired``."""
        if self.expired_at is not None:
            return "expired"
        if self.task_state is None:
            return "failed" if self.opened_at is None else ACTIVE
        if self.task_state is State.SUCCEEDED and self.opened_at is not None:
            return ACTIVE
        return "failed" if self.task_state in (State.SUCCEEDED, State.FAILED, State.CANCELED) else "pending"

    @property
    def error(self) -> str | None:
        if self.state == "expired":
            return self.expired_by
        if self.state != "failed":
            return None
        if self.task_error is not None:
            return self.task_error.code
        return str(self.task_state or "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One task of a poll, as far as the poll cares."""

    id: str
    state: State
    started_at: datetime | None
    finished_at: datetime | None
    error: Error | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """Something that was asked of a source: a task for each thing wanted. ``storage`` is the number of the destination of the results."""

    number: int
    id: str
    organisation: int
    key: int | None
    user: int
    source: int
    session: str
    payload: Json
    storage: int
    created_at: datetime
    fetches: Sequence[Fetch] = ()

    @property
    def state(self) -> str:
        """Return ``pending`` before its first task starts, ``completed`` once all have ended, else ``processing``."""
        if all(fetch.finished_at is not None for fetch in self.fetches):
            return "completed"
        return "pending" if self.started_at is None else "processing"

    @property
    def started_at(self) -> datetime | None:
        begun = [each.started_at for each in self.fetches if each.started_at is not None]
        return min(begun, default=self._asked_for_nothing_at)

    @property
    def finished_at(self) -> datetime | None:
        if self.state != "completed":
            return None
        ended = [each.finished_at for each in self.fetches if each.finished_at is not None]
        return max(ended, default=self._asked_for_nothing_at)

    @property
    def _asked_for_nothing_at(self) -> datetime | None:
        """Return when a poll of nothing was made, which is when it began and ended; None for any other."""
        return None if any(self.payload.get(name) for name in FETCH) else self.created_at
