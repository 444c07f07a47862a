"""Hooks: make, read, change, test, rotate, delete; their deliveries: read, send again."""

from typing import Final

from starlette.responses import Response

from taskyard.dialects.native.parse.hooks import DeliveryQuery, HookChangeBody, NewHookBody
from taskyard.dialects.native.parse.tasks import PAGE_SIZE
from taskyard.dialects.native.render.hooks import (
    DeliveryPage,
    DeliveryShown,
    HookPage,
    HookShown,
    delivery_shown,
    hook_shown,
)
from taskyard.dialects.native.render.words import reply
from taskyard.dialects.native.routes.acting import IDEMPOTENT, act, no_answer
from taskyard.http.bodies import Body, read_query
from taskyard.http.call import Call
from taskyard.http.operation import Operation
from taskyard.http.paging import page_token, position_of

CREATE: Final = Body(NewHookBody)
CHANGE: Final = Body(HookChangeBody)


async def list_hooks(call: Call) -> Response:
    """List the hooks, oldest first."""
    found = await call.backend.read(call.backend.services.hooks.all, call.actor)
    return reply(HookPage(hooks=[hook_shown(each) for each in found]))


async def create_hook(call: Call) -> Response:
    """
    Make a hook: from now on its URL is told of what happens, by the scheme of Standard Webhooks.

    The secret by which receivers check signatures is in this answer, and nowhere else.
    """
    new, hooks = CREATE.read(await call.body()).new_hook(), call.backend.services.hooks
    # Not kept for repeats: a secret is never stored as it is.
    made = await call.backend.write(hooks.create, call.actor, new)
    return reply(hook_shown(made), 201, {"Location": f"/v1/hooks/{made.hook.id}"})


async def get_hook(call: Call) -> Response:
    """Return a hook."""
    return reply(
        hook_shown(await call.backend.read(call.backend.services.hooks.get, call.actor, call.path["id"]))
    )


async def change_hook(call: Call) -> Response:
    """Change what is given of a hook; one that is enabled again is sent what has waited for it."""
    changes, hooks = CHANGE.read(await call.body()).changes(), call.backend.services.hooks
    return await act(
        call, lambda records: hooks.change(records, call.actor, call.path["id"], changes), hook_shown
    )


async def delete_hook(call: Call) -> Response:
    """Delete a hook; what was not delivered yet never will be."""
    hooks = call.backend.services.hooks
    return await act(call, lambda records: hooks.delete(records, call.actor, call.path["id"]), no_answer)


async def test_hook(call: Call) -> Response:
    """Send the hook an event of the kind `hook.test`, and return its delivery."""
    hooks, id = call.backend.services.hooks, call.path["id"]
    return await act(
        call,
        lambda records: hooks.test(records, call.actor, id),
        lambda delivery: delivery_shown(delivery, id),
        status=201,
        headers=lambda delivery: {"Location": f"/v1/hooks/{id}/deliveries/{delivery.id}"},
    )


async def rotate_hook(call: Call) -> Response:
    """Give a hook another secret, which is in this answer and nowhere else; for a day both sign."""
    hooks = call.backend.services.hooks
    return reply(hook_shown(await call.backend.write(hooks.rotate, call.actor, call.path["id"])))


async def list_deliveries(call: Call) -> Response:
    """List what was sent to a hook, or is to be, newest first."""
    query, id = read_query(call.request.query_params, DeliveryQuery), call.path["id"]
    asked = [id, query.state]
    before = None if query.page_token is None else position_of(query.page_token, asked)
    most = query.page_size or PAGE_SIZE
    found = await call.backend.read(
        call.backend.services.hooks.deliveries, call.actor, id, state=query.state, limit=most, before=before
    )
    token = page_token(found[-1].number, asked) if len(found) == most else None
    return reply(DeliveryPage(deliveries=[delivery_shown(each, id) for each in found], next_page_token=token))


async def get_delivery(call: Call) -> Response:
    """Return a delivery, with what came of its last attempt."""
    id, delivery = call.path["id"], call.path["delivery"]
    found = await call.backend.read(call.backend.services.hooks.delivery, call.actor, id, delivery)
    return reply(delivery_shown(found, id))


async def resend_delivery(call: Call) -> Response:
    """Send a delivery again, under its id, whatever has become of it."""
    hooks, id, delivery = call.backend.services.hooks, call.path["id"], call.path["delivery"]
    return await act(
        call,
        lambda records: hooks.resend(records, call.actor, id, delivery),
        lambda sent: delivery_shown(sent, id),
    )


OPERATIONS: Final = (
    Operation("GET", "/hooks", list_hooks, "hooks", {200: HookPage}),
    Operation("POST", "/hooks", create_hook, "hooks", {201: HookShown}, body=NewHookBody, refusals=(409,)),
    Operation(
        "POST",
        "/hooks/{id}:test",
        test_hook,
        "hooks",
        {201: DeliveryShown},
        headers=IDEMPOTENT,
        refusals=(409, 422),
    ),
    Operation("POST", "/hooks/{id}:rotate", rotate_hook, "hooks", {200: HookShown}),
    Operation(
        "GET", "/hooks/{id}/deliveries", list_deliveries, "hooks", {200: DeliveryPage}, query=DeliveryQuery
    ),
    Operation(
        "POST",
        "/hooks/{id}/deliveries/{delivery}:resend",
        resend_delivery,
        "hooks",
        {200: DeliveryShown},
        headers=IDEMPOTENT,
        refusals=(409, 422),
    ),
    Operation("GET", "/hooks/{id}/deliveries/{delivery}", get_delivery, "hooks", {200: DeliveryShown}),
    Operation("GET", "/hooks/{id}", get_hook, "hooks", {200: HookShown}),
    Operation(
        "PATCH",
        "/hooks/{id}",
        change_hook,
        "hooks",
        {200: HookShown},
        body=HookChangeBody,
        headers=IDEMPOTENT,
    ),
    Operation(
        "DELETE", "/hooks/{id}", delete_hook, "hooks", {204: None}, headers=IDEMPOTENT, refusals=(422,)
    ),
)
