"""Proving: the tasks that test destinations, before they are used."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from taskyard.core.destination import TESTS, Destination, Kind
from taskyard.core.hold import Hold
from taskyard.core.outcome import Done, Failed, Outcome
from taskyard.core.source import QUEUE
from taskyard.core.task import Task
from taskyard.loops.connector import Refused
from taskyard.loops.context import Context
from taskyard.loops.guard import Guard, Network
from taskyard.loops.handlers import Handler, Place
from taskyard.loops.post import Post as PostOffice
from taskyard.loops.storage import Storage
from taskyard.service.hooks import Letter
from taskyard.service.services import Services
from taskyard.store.records import Records
from taskyard.store.store import Store

Answer = TypeVar("Answer")
#: Makes the letter that a webhook is tested with.
Compose = Callable[[Destination], Letter]
#: Posts a letter and returns the status of the answer. Raises Refused.
Post = Callable[[Letter], Awaitable[int]]

#: Receivers answer at once and do their work afterwards.
TIMEOUT: Final = timedelta(seconds=10)


class Proving:
    """
    Args:
        storages: What writes files; one for each scheme of URL.
        compose: Makes test letters in the words of whoever the webhook is for.
        post: Sends them.
    """

    def __init__(
        self, store: Store, services: Services, storages: Sequence[Storage], compose: Compose, post: Post
    ) -> None:
        self._store = store
        self._services = services
        self._storages = {storage.scheme: storage for storage in storages}
        self._compose = compose
        self._post = post

    def handlers(self) -> list[Handler]:
        """Return the handlers of the tests, to be added to a worker's."""
        return [
            Handler(type=TESTS[kind], function=self._prover(kind, prove), place=Place.LOOP, queue=QUEUE)
            for kind, prove in ((Kind.STORAGE, self._storage), (Kind.WEBHOOK, self._webhook))
        ]

    def _prover(
        self, kind: Kind, prove: Callable[[Destination], Awaitable[None]]
    ) -> Callable[[Context], Awaitable[Outcome]]:
        async def test(ctx: Context) -> Outcome:
            tested = await self._read(_destination, ctx.task, kind)
            if tested is None:
                return Failed(f"there is no {kind} config {ctx.task.target}", code="not-found", final=True)
            try:
                await prove(tested)
            except Refused as refusal:
                await self._judge(ctx.task, tested, valid=False)
                return Failed(str(refusal), code=refusal.code, final=True)
            await self._judge(ctx.task, tested, valid=True)
            return Done()

        return test

    async def _storage(self, tested: Destination) -> None:
        scheme = tested.url.partition(":")[0]
        storage = self._storages.get(scheme)
        if storage is None:
            raise Refused("storage-not-supported", f"nothing here writes to {scheme}:// URLs")
        await storage.probe(tested.url)

    async def _webhook(self, tested: Destination) -> None:
        status = await self._post(self._compose(tested))
        if not 200 <= status < 300:
            raise Refused("webhook-refused", f"the receiver answered {status}; any 2xx would do")

    async def _judge(self, task: Task, tested: Destination, *, valid: bool) -> None:
        judge = self._services.destinations.judge
        await asyncio.wrap_future(
            self._store.write_soon(lambda records: judge(records, Hold.of(task), tested, valid=valid))
        )

    async def _read(self, function: Callable[..., Answer], *args: Any) -> Answer:
        return await asyncio.wrap_future(self._store.read_soon(lambda records: function(records, *args)))


def _destination(records: Records, task: Task, kind: Kind) -> Destination | None:
    number = task.input.get("destination") if isinstance(task.input, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    return records.destinations.get(task.organisation, kind, number)


def poster(allow: Sequence[Network], *, agent: str) -> Post:
    """
    Return what posts letters as the courier does: without redirects, and to public addresses alone.

    Args:
        allow: Networks that may be written to although they are not public.
        agent: The ``User-Agent``.
    """

    async def post(letter: Letter) -> int:
        office = PostOffice(Guard(allow), agent=agent, timeout=TIMEOUT)
        try:
            answer = await office(letter)
        finally:
            await office.close()
        if answer.status is None:
            raise Refused("webhook-unreachable", answer.error)
        return answer.status

    return post
