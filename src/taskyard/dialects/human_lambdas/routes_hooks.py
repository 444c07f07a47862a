"""The webhook of a queue, and the subscriptions that a connector makes (contract, 3.5 and 3.9)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import NotFound
from taskyard.core.hook import Hook, NewHook
from taskyard.core.queue import Queue
from taskyard.dialects.human_lambdas import render
from taskyard.dialects.human_lambdas.parse import hook_number_of, subscription_of, target_of
from taskyard.dialects.human_lambdas.refuse import Said
from taskyard.http.dialect import Call
from taskyard.service.services import Services
from taskyard.store.records import Records

WIRE: Final = "human_lambdas"
#: What a connector has made is kept apart from the one webhook that a queue has.
_ZAPIER: Final[Mapping[str, Any]] = {"connector": "zapier"}


async def get_webhook(call: Call) -> Response:
    shown = await call.backend.read(_shown, call.backend.services, call.actor, call.path["queue"])
    return render.answer(shown)


def _shown(records: Records, services: Services, actor: Actor, number: int) -> dict[str, Any]:
    queue = services.questionnaires.queue(records, actor, number)
    hook = webhook_of(records, services, queue)
    return {"target": ""} if hook is None else render.webhook(hook, queue)


async def set_webhook(call: Call) -> Response:
    target = await target_of(call)
    status, shown = await call.backend.write(
        _set, call.backend.services, call.actor, call.path["queue"], target
    )
    return render.empty(204) if shown is None else render.answer(shown, status)


def _set(
    records: Records, services: Services, actor: Actor, number: int, target: str
) -> tuple[int, dict[str, Any] | None]:
    queue, hooks = services.questionnaires.queue(records, actor, number), services.hooks
    hook = webhook_of(records, services, queue)
    if not target:
        if hook is not None:
            hooks.delete(records, actor, hook.id)
        return 204, None
    if hook is None:
        return 201, render.webhook(hooks.create(records, actor, _new(queue, target)).hook, queue)
    # One that the server has disabled, since its receiver was gone, is meant to work again.
    return 200, render.webhook(hooks.change(records, actor, hook.id, {"url": target, "enabled": True}), queue)


def _new(queue: Queue, target: str, settings: Mapping[str, Any] | None = None) -> NewHook:
    return NewHook(
        url=target,
        events=("task.succeeded",),
        queue=queue.name,
        wire=WIRE,
        settings=settings and dict(settings),
    )


def webhook_of(records: Records, services: Services, queue: Queue) -> Hook | None:
    """Return the webhook of a queue, which everybody may see who may see the queue."""
    found = services.hooks.all(records, _manager(queue.organisation), queue=queue.name, wire=WIRE)
    return next((hook for hook in found if hook.settings is None), None)


def _manager(organisation: int) -> Actor:
    return Actor(organisation=organisation, identity="system", permissions=frozenset({Permission.MANAGE}))


# -- what a connector subscribes to ---------------------------------------------------------------------------------------------


async def zapier_subscribe(call: Call) -> Response:
    number, target = await subscription_of(call)
    shown = await call.backend.write(_subscribe, call.backend.services, _member(call.actor), number, target)
    return render.answer(shown, 201)


def _subscribe(
    records: Records, services: Services, actor: Actor, number: int, target: str
) -> dict[str, Any]:
    try:
        queue = services.questionnaires.queue(records, actor, number)
    except NotFound:
        message = f'Invalid pk "{number}" - object does not exist.'
        raise Said(400, message, field="workflow") from None
    made = services.hooks.create(records, actor, _new(queue, target, _ZAPIER))
    return render.subscription(made.hook, queue)


async def zapier_unsubscribe(call: Call) -> Response:
    number = await hook_number_of(call)
    await call.backend.write(_unsubscribe, call.backend.services, _member(call.actor), number)
    return render.empty(204)


def _unsubscribe(records: Records, services: Services, actor: Actor, number: int) -> None:
    found = services.hooks.all(records, actor, wire=WIRE, number=number)
    hook = next((hook for hook in found if hook.settings == _ZAPIER), None)
    if hook is None:
        raise NotFound("hook", number)
    services.hooks.delete(records, actor, hook.id)


def _member(actor: Actor) -> Actor:
    """On this wire everybody who may work in queues may subscribe to them."""
    actor.require(Permission.WORK)
    return replace(actor, permissions=actor.permissions | {Permission.MANAGE})
