"""What is said about queues, and by people who work them."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from taskyard.core.queue import Kind, QueueSettings, RateLimit
from taskyard.dialects.native.parse.words import Body, Name, Seconds, given
from taskyard.http.bodies import length


class RateBody(Body, frozen=True, kw_only=True):
    """At most `count` starts in any window of `period` seconds."""

    count: int
    period: Seconds


class QueueChangeBody(Body, frozen=True, kw_only=True):
    """What to change of a queue: what is left out stays, `null` lifts a limit."""

    title: str | None | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    concurrency: Annotated[
        int | None | UnsetType, msgspec.Meta(description="Bounds the sum of running tasks' weights.")
    ] = UNSET
    rate: RateBody | None | UnsetType = UNSET
    lease: Annotated[
        Seconds | UnsetType, msgspec.Meta(description="How long people keep a task untouched.")
    ] = UNSET
    max_failures: int | UnsetType = UNSET
    retention: Annotated[Seconds | UnsetType, msgspec.Meta(description="How long ended tasks are kept.")] = (
        UNSET
    )
    form: Annotated[Any, msgspec.Meta(description="A JSON Schema that answers must match.")] = UNSET
    settings: Any = UNSET

    def changes(self) -> dict[str, Any]:
        """Return members of QueueSettings. Raises Invalid."""
        said = given(self)
        said.pop("name", None)
        for member in ("lease", "retention"):
            if member in said:
                said[member] = length(said[member], f"/{member}")
        rate = said.get("rate")
        if isinstance(rate, RateBody):
            said["rate"] = RateLimit(count=rate.count, period=length(rate.period, "/rate/period"))
        return said


class NewQueueBody(QueueChangeBody, frozen=True, kw_only=True):
    """A queue to make; what is left out takes its default."""

    name: Name

    def queue_settings(self) -> QueueSettings:
        return QueueSettings(**self.changes())


class LeaseBody(Body, frozen=True, kw_only=True):
    """For how long to hold the task, in seconds; the queue's lease when nothing is said."""

    lease: Seconds | None = None

    def span(self) -> timedelta | None:
        return None if self.lease is None else length(self.lease, "/lease")


class DraftBody(Body, frozen=True, kw_only=True):
    data: Any


class CompleteBody(Body, frozen=True, kw_only=True):
    output: Any = None


class FailBody(Body, frozen=True, kw_only=True):
    message: str


class CommentBody(Body, frozen=True, kw_only=True):
    text: str


class AssignBody(Body, frozen=True, kw_only=True):
    """The number of the user who is to hold the task; `null` gives it back."""

    user: int | None
