"""Who asks: keys that are shown, verified by the accounts, remembered for a moment."""

import hashlib
from time import monotonic
from typing import Final

from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.core.errors import Unauthenticated
from taskyard.http.threads import awaited
from taskyard.service.accounts import Accounts
from taskyard.store.store import Store

#: A key that is revoked through another process is refused here this much later at most.
REMEMBERED_SECONDS: Final = 5.0
#: More keys than are used within a few seconds; past that, all are verified again.
MOST_REMEMBERED: Final = 10_000


def bearer(request: Request) -> str:
    """Return the token of ``Authorization: Bearer …``. Raises Unauthenticated."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("say who you are: Authorization: Bearer <key>")
    return token


class KeyRing:
    """Keys that were verified a moment ago, by digest: the secrets themselves are not kept."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._actors: dict[bytes, tuple[float, Actor]] = {}
        self._names: dict[int, str] = {}

    async def actor(self, token: str) -> Actor:
        """Return whose key *token* is. Raises Unauthenticated."""
        digest = hashlib.blake2b(token.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        now = monotonic()
        known = self._actors.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        actor = await awaited(self._store.read_soon(lambda records: self._accounts.identify(records, token)))
        if len(self._actors) >= MOST_REMEMBERED:
            self._actors.clear()
        self._actors[digest] = (now + REMEMBERED_SECONDS, actor)
        return actor

    async def organisation(self, actor: Actor) -> str:
        """Return the name of the actor's organisation; names never change."""
        name = self._names.get(actor.organisation)
        if name is None:
            found = await awaited(
                self._store.read_soon(lambda records: records.accounts.organisation(actor.organisation))
            )
            name = self._names[actor.organisation] = found.name if found else str(actor.organisation)
        return name

    def forget(self) -> None:
        """Verify every key again: one has been revoked or changed."""
        self._actors.clear()
