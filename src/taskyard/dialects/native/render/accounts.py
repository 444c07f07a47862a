"""Keys, users, workers and who asks, as the API shows them. Secrets are shown once, in the answer that makes them."""

from msgspec import UNSET, UnsetType

from taskyard.core.account import Key, User
from taskyard.core.actor import Actor, Permission
from taskyard.core.worker import Worker
from taskyard.dialects.native.render.words import Moment, Shown, maybe, moment
from taskyard.service.accounts import NewKey


class KeyShown(Shown, frozen=True, kw_only=True):
    """`secret` is there once, in the answer to the request that made or rotated the key."""

    id: str
    name: str
    owner: int | None
    permissions: list[Permission]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    secret: str | UnsetType = UNSET


class KeyPage(Shown, frozen=True, kw_only=True):
    keys: list[KeyShown]
    next_page_token: str | None = None


class UserShown(Shown, frozen=True, kw_only=True):
    number: int
    login: str
    name: str
    role: str
    disabled: bool
    created_at: Moment


class UserPage(Shown, frozen=True, kw_only=True):
    users: list[UserShown]
    next_page_token: str | None = None


class LaneShown(Shown, frozen=True, kw_only=True):
    queue: str
    type: str


class WorkerShown(Shown, frozen=True, kw_only=True):
    id: str
    name: str
    state: str
    slots: int
    version: str
    lanes: list[LaneShown]
    started_at: Moment
    seen_at: Moment
    lease_until: Moment
    claimed_at: Moment | None


class WorkerPage(Shown, frozen=True, kw_only=True):
    workers: list[WorkerShown]
    next_page_token: str | None = None


class MeShown(Shown, frozen=True, kw_only=True):
    """Who asks, and where."""

    identity: str
    name: str
    number: int | None
    organisation: str
    permissions: list[Permission]


def key_shown(key: Key | NewKey) -> KeyShown:
    secret: str | UnsetType = UNSET
    if isinstance(key, NewKey):
        secret = key.secret
        key = key.key
    return KeyShown(
        id=key.id,
        name=key.name,
        owner=key.owner,
        permissions=sorted(key.permissions),
        created_at=moment(key.created_at),
        expires_at=maybe(key.expires_at),
        revoked_at=maybe(key.revoked_at),
        secret=secret,
    )


def user_shown(user: User) -> UserShown:
    return UserShown(
        number=user.number,
        login=user.login,
        name=user.name,
        role=user.role,
        disabled=user.disabled,
        created_at=moment(user.created_at),
    )


def worker_shown(worker: Worker) -> WorkerShown:
    return WorkerShown(
        id=worker.id,
        name=worker.name,
        state=worker.state,
        slots=worker.slots,
        version=worker.version,
        lanes=[LaneShown(queue=lane.queue, type=lane.type) for lane in worker.lanes],
        started_at=moment(worker.started_at),
        seen_at=moment(worker.seen_at),
        lease_until=moment(worker.lease_until),
        claimed_at=maybe(worker.claimed_at),
    )


def me_shown(actor: Actor, organisation: str) -> MeShown:
    return MeShown(
        identity=actor.identity,
        name=actor.name,
        number=actor.number,
        organisation=organisation,
        permissions=sorted(actor.permissions),
    )
