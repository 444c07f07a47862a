"""Who may do what: keys, users, who asks; and the workers that are there."""

from typing import Any, Final

from starlette.responses import Response

from taskyard.core.actor import Permission
from taskyard.dialects.native.parse.accounts import NewKeyBody, NewUserBody, UserChangeBody
from taskyard.dialects.native.parse.words import given
from taskyard.dialects.native.render.accounts import (
    KeyPage,
    KeyShown,
    MeShown,
    UserPage,
    UserShown,
    WorkerPage,
    key_shown,
    me_shown,
    user_shown,
    worker_shown,
)
from taskyard.dialects.native.render.words import reply
from taskyard.http.bodies import Body, instant
from taskyard.http.call import Call
from taskyard.http.operation import Operation
from taskyard.store.records import Records

NEW_KEY: Final = Body(NewKeyBody)
NEW_USER: Final = Body(NewUserBody)
USER_CHANGE: Final = Body(UserChangeBody)


async def get_me(call: Call) -> Response:
    """Return who you are, in which organisation, and what you may do."""
    return reply(me_shown(call.actor, await call.backend.keys.organisation(call.actor)))


async def list_keys(call: Call) -> Response:
    """List your keys; for an administrator, everybody's."""
    found = await call.backend.read(call.backend.services.accounts.keys, call.actor)
    return reply(KeyPage(keys=[key_shown(each) for each in found]))


async def create_key(call: Call) -> Response:
    """Make a key; its secret is in this answer, and nowhere else."""
    body, accounts = NEW_KEY.read(await call.body()), call.backend.services.accounts
    expires_at = None if body.expires_at is None else instant(body.expires_at, "/expires_at")

    # Not kept for repeats: a secret is never stored.
    made = await call.backend.write(
        accounts.create_key,
        call.actor,
        body.name,
        permissions=body.permissions,
        owner=body.owner,
        expires_at=expires_at,
        settings={"secret": "hex"} if body.hex else None,
    )
    return reply(key_shown(made), 201, {"Location": f"/v1/keys/{made.key.id}"})


async def revoke_key(call: Call) -> Response:
    """End a key at once."""
    accounts = call.backend.services.accounts
    await call.backend.write(accounts.revoke_key, call.actor, call.path["id"])
    call.backend.keys.forget()
    return Response(status_code=204)


async def rotate_key(call: Call) -> Response:
    """Give a key another secret, which is in this answer and nowhere else; the old one ends at once."""
    accounts = call.backend.services.accounts
    made = await call.backend.write(accounts.rotate_key, call.actor, call.path["id"])
    call.backend.keys.forget()
    return reply(key_shown(made))


async def list_users(call: Call) -> Response:
    """List the people of the organisation."""
    found = await call.backend.read(call.backend.services.accounts.users, call.actor)
    return reply(UserPage(users=[user_shown(each) for each in found]))


async def create_user(call: Call) -> Response:
    """Add a person to the organisation."""
    body, accounts = NEW_USER.read(await call.body()), call.backend.services.accounts
    made = await call.backend.write(
        accounts.create_user, call.actor, body.login, name=body.name, role=body.role, password=body.password
    )
    return reply(user_shown(made), 201, {"Location": f"/v1/users/{made.number}"})


async def change_user(call: Call) -> Response:
    """Change a person's name, role or password, or shut him out."""
    changes, accounts = given(USER_CHANGE.read(await call.body())), call.backend.services.accounts
    changed = await call.backend.write(accounts.change_user, call.actor, call.path["number"], **changes)
    call.backend.keys.forget()
    return reply(user_shown(changed))


async def list_workers(call: Call) -> Response:
    """List the workers, the newest first; those that have gone are kept for a while."""

    def look(records: Records) -> Any:
        call.actor.require(Permission.READ)
        return records.workers.all(call.actor.organisation, 1_000)

    return reply(WorkerPage(workers=[worker_shown(each) for each in await call.backend.read(look)]))


OPERATIONS: Final = (
    Operation("GET", "/me", get_me, "accounts", {200: MeShown}),
    Operation("GET", "/keys", list_keys, "accounts", {200: KeyPage}),
    Operation("POST", "/keys", create_key, "accounts", {201: KeyShown}, body=NewKeyBody, refusals=(404,)),
    Operation("POST", "/keys/{id}:rotate", rotate_key, "accounts", {200: KeyShown}, refusals=(409,)),
    Operation("DELETE", "/keys/{id}", revoke_key, "accounts", {204: None}),
    Operation("GET", "/users", list_users, "accounts", {200: UserPage}),
    Operation("POST", "/users", create_user, "accounts", {201: UserShown}, body=NewUserBody, refusals=(409,)),
    Operation(
        "PATCH",
        "/users/{number:int}",
        change_user,
        "accounts",
        {200: UserShown},
        body=UserChangeBody,
        refusals=(409,),
    ),
    Operation("GET", "/workers", list_workers, "workers", {200: WorkerPage}),
)
