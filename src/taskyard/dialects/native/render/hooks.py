"""Hooks and deliveries, as the API shows them. A secret is shown once, in the answer that makes it."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from taskyard.core.hook import Delivery, DeliveryState, Hook
from taskyard.dialects.native.render.words import Moment, Seconds, Shown, maybe, moment, seconds
from taskyard.service.hooks import MadeHook


class HookShown(Shown, frozen=True, kw_only=True):
    """
    `secret` is there once, in the answer to the request that made or rotated it. `reason` says why the server itself has disabled
    the hook, if it has.
    """

    id: str
    number: int
    url: str
    events: list[str]
    queue: str | None
    type: str | None
    wire: Annotated[
        str, msgspec.Meta(description="Who writes what is sent: `standard`, or the name of a dialect.")
    ]
    enabled: bool
    reason: str | None
    actor: str
    created_at: Moment
    updated_at: Moment
    secret: str | UnsetType = UNSET


class HookPage(Shown, frozen=True, kw_only=True):
    hooks: list[HookShown]
    next_page_token: str | None = None


class DeliveryShown(Shown, frozen=True, kw_only=True):
    """`id` is what the receiver finds in `webhook-id`, the same at every attempt. `status`, `error` and `took` are of the last."""

    id: str
    number: int
    hook: str
    state: DeliveryState
    kind: str
    subject: str
    queue: str | None
    type: str | None
    data: Any
    at: Moment
    attempts: int
    next_at: Moment | None
    sent_at: Moment | None
    status: int | None
    error: str | None
    took: Seconds | None
    finished_at: Moment | None
    created_at: Moment


class DeliveryPage(Shown, frozen=True, kw_only=True):
    deliveries: list[DeliveryShown]
    next_page_token: str | None = None


def hook_shown(hook: Hook | MadeHook) -> HookShown:
    secret: str | UnsetType = UNSET
    if isinstance(hook, MadeHook):
        secret = hook.secret
        hook = hook.hook
    return HookShown(
        id=hook.id,
        number=hook.number,
        url=hook.url,
        events=list(hook.events),
        queue=hook.queue,
        type=hook.type,
        wire=hook.wire,
        enabled=hook.enabled,
        reason=hook.reason,
        actor=hook.actor,
        created_at=moment(hook.created_at),
        updated_at=moment(hook.updated_at),
        secret=secret,
    )


def delivery_shown(delivery: Delivery, hook: str) -> DeliveryShown:
    return DeliveryShown(
        id=delivery.id,
        number=delivery.number,
        hook=hook,
        state=delivery.state,
        kind=delivery.kind,
        subject=delivery.subject,
        queue=delivery.queue,
        type=delivery.type,
        data=delivery.data,
        at=moment(delivery.at),
        attempts=delivery.attempts,
        next_at=maybe(delivery.next_at),
        sent_at=maybe(delivery.sent_at),
        status=delivery.status,
        error=delivery.error,
        took=seconds(delivery.took),
        finished_at=maybe(delivery.finished_at),
        created_at=moment(delivery.created_at),
    )
