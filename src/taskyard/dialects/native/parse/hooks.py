"""What is said about hooks."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from taskyard.core.hook import MAX_PATTERNS, MAX_URL_LENGTH, DeliveryState, NewHook
from taskyard.dialects.native.parse.tasks import PageSize, PageToken
from taskyard.dialects.native.parse.words import Body, Name, given
from taskyard.http.bodies import Query

Url = Annotated[
    str,
    msgspec.Meta(
        description="`https://…` or `http://…`, at a public address unless the server is told to allow others.",
        extra_json_schema={"maxLength": MAX_URL_LENGTH, "format": "uri"},
    ),
]
Kinds = Annotated[
    list[str],
    msgspec.Meta(
        description="Kinds of events: `task.succeeded`, all of a noun (`task.*`), or `*`.",
        extra_json_schema={"minItems": 1, "maxItems": MAX_PATTERNS},
    ),
]


class NewHookBody(Body, frozen=True, kw_only=True):
    """What to be told of, and where."""

    url: Url
    events: Kinds = msgspec.field(default_factory=lambda: ["task.*"])
    queue: Annotated[Name | None, msgspec.Meta(description="Only of this queue.")] = None
    type: Annotated[Name | None, msgspec.Meta(description="Only of tasks of this type.")] = None
    enabled: bool = True

    def new_hook(self) -> NewHook:
        return NewHook(
            url=self.url, events=tuple(self.events), queue=self.queue, type=self.type, enabled=self.enabled
        )


class HookChangeBody(Body, frozen=True, kw_only=True):
    """What to change: what is left out stays, `null` lifts a filter."""

    url: Url | UnsetType = UNSET
    events: Kinds | UnsetType = UNSET
    queue: Name | None | UnsetType = UNSET
    type: Name | None | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def changes(self) -> dict[str, Any]:
        said = given(self)
        if "events" in said:
            said["events"] = tuple(said["events"])
        return said


class DeliveryQuery(Query, frozen=True, kw_only=True):
    state: DeliveryState | None = None
    page_size: PageSize | None = None
    page_token: PageToken | None = None
