"""What is said about events: which to read, and what to send."""

from typing import Annotated, Any

import msgspec

from taskyard.dialects.native.parse.tasks import Wait
from taskyard.dialects.native.parse.words import Body
from taskyard.http.bodies import Query

MAX_EVENTS = 1_000


class EventQuery(Query, frozen=True, kw_only=True):
    after: Annotated[
        str | None,
        msgspec.Meta(description="The `id` of the last event you know; without it, from the oldest kept."),
    ] = None
    kind: Annotated[list[str], msgspec.Meta(description="Any of these kinds, such as `task.succeeded`.")] = (
        msgspec.field(default_factory=list)
    )
    queue: str | None = None
    type: str | None = None
    page_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_EVENTS)] = 100
    wait: Wait = 0.0


class SendBody(Body, frozen=True, kw_only=True):
    """An event for the tasks that wait for its name, now or later; the first of a name stays."""

    name: str
    payload: Any = None
