"""The two faces: what sends a flow's requests, blocking or awaited. Everything else is in the calls, once."""

import asyncio
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from typing import Any, Final, Generic, Self

import httpx
import msgspec

from taskyard.client.accounts import AccountCalls
from taskyard.client.errors import Unreachable
from taskyard.client.feed import FeedCalls
from taskyard.client.flow import NOTHING, Answer, Answered, Flow, Item, NextLine, Open, Pause, Request, Step
from taskyard.client.hooks import HookCalls
from taskyard.client.queues import InboxCalls, QueueCalls
from taskyard.client.schedules import ScheduleCalls
from taskyard.client.sending import PATIENCE
from taskyard.client.tasks import TaskCalls

#: How long one answer may take, beside the time it is asked to be held.
TIMEOUT: Final = timedelta(seconds=30)
CONNECT_WITHIN: Final = timedelta(seconds=10)
#: The feed's heartbeat comes every 15 s; two missed ones and the connection is given up.
SILENCE: Final = timedelta(seconds=40)


class Calls(TaskCalls, QueueCalls, InboxCalls, ScheduleCalls, HookCalls, AccountCalls, FeedCalls):
    """Everything that can be asked of a server."""

    def __init__(self, url: str, key: str | None = None, *, patience: timedelta = PATIENCE) -> None:
        self.url = url.rstrip("/")
        self.patience = patience
        self._headers = {"Accept": "application/json", "User-Agent": "taskyard-client"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def new_key(self) -> str:
        return str(uuid.uuid4())

    def jitter(self) -> float:
        return random.random()

    def elapsed(self) -> float:
        return time.monotonic()

    def _built(self, request: Request, silence: timedelta) -> dict[str, Any]:
        """Return *request* as httpx takes it."""
        headers = dict(request.headers)
        content = None
        if request.body is not NOTHING:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(request.body)
        within = request.within_seconds
        if within is None:
            within = silence.total_seconds() + request.holds_seconds
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": request.query,
            "headers": headers,
            "content": content,
            "timeout": httpx.Timeout(within, connect=min(within, CONNECT_WITHIN.total_seconds())),
        }

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        if isinstance(error, httpx.TimeoutException):
            why = "it took too long"
        else:
            why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        return Unreachable(self.url, why, unsent=unsent)


class Client(Calls):
    """
    A server, by its URL and a key: ``Client("http://127.0.0.1:8420", key)``. May be used by many threads.

    Args:
        patience: How long, all told, one call waits for a server that cannot be reached or is unavailable.
        transport: How requests travel; the default is the network.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience: timedelta = PATIENCE,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, patience=patience)
        self._http = httpx.Client(headers=self._headers, transport=transport, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def run(self, flow: Flow[Answered]) -> Answered:
        """Do what *flow* says; return what it returns."""
        with ExitStack() as opened:
            drive = _Drive(flow)
            while not drive.done:
                assert not isinstance(drive.step, Item), "only a stream gives items"
                self._take(drive, opened)
            return drive.returned

    def each(self, flow: Flow[None]) -> Iterator[Any]:
        """Do what *flow* says; give its items."""
        with ExitStack() as opened:
            drive: _Drive[None] = _Drive(flow)
            while not drive.done:
                if isinstance(drive.step, Item):
                    yield drive.step.value
                    drive.answer(None)
                else:
                    self._take(drive, opened)

    def _take(self, drive: "_Drive[Any]", opened: ExitStack) -> None:
        try:
            answer = self._do(drive.step, drive, opened)
        except httpx.TransportError as error:
            drive.refuse(self._unreachable(error))
        else:
            drive.answer(answer)

    def _do(self, step: Step, drive: "_Drive[Any]", opened: ExitStack) -> Any:
        match step:
            case Request():
                return _answer(self._http.request(**self._built(step, TIMEOUT)))
            case Open(request):
                opened.close()
                response = opened.enter_context(self._http.stream(**self._built(request, SILENCE)))
                if response.status_code >= 400:
                    response.read()
                drive.lines = response.iter_lines()
                return _answer(response) if response.status_code >= 400 else _opened(response)
            case NextLine():
                return next(drive.lines, None)
            case Pause(seconds):
                time.sleep(seconds)
                return None
            case Item():
                raise AssertionError("items are given, not done")


class AsyncClient(Calls):
    """As :class:`Client`, awaited: ``await client.submit(…)``, ``async for task in client.search(…)``."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience: timedelta = PATIENCE,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, patience=patience)
        self._http = httpx.AsyncClient(headers=self._headers, transport=transport, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def run(self, flow: Flow[Answered]) -> Answered:
        """Do what *flow* says; return what it returns."""
        async with AsyncExitStack() as opened:
            drive = _Drive(flow)
            while not drive.done:
                assert not isinstance(drive.step, Item), "only a stream gives items"
                await self._take(drive, opened)
            return drive.returned

    async def each(self, flow: Flow[None]) -> AsyncIterator[Any]:
        """Do what *flow* says; give its items."""
        async with AsyncExitStack() as opened:
            drive: _Drive[None] = _Drive(flow)
            while not drive.done:
                if isinstance(drive.step, Item):
                    yield drive.step.value
                    drive.answer(None)
                else:
                    await self._take(drive, opened)

    async def _take(self, drive: "_Drive[Any]", opened: AsyncExitStack) -> None:
        try:
            answer = await self._do(drive.step, drive, opened)
        except httpx.TransportError as error:
            drive.refuse(self._unreachable(error))
        else:
            drive.answer(answer)

    async def _do(self, step: Step, drive: "_Drive[Any]", opened: AsyncExitStack) -> Any:
        match step:
            case Request():
                return _answer(await self._http.request(**self._built(step, TIMEOUT)))
            case Open(request):
                await opened.aclose()
                response = await opened.enter_async_context(
                    self._http.stream(**self._built(request, SILENCE))
                )
                if response.status_code >= 400:
                    await response.aread()
                drive.lines = response.aiter_lines()
                return _answer(response) if response.status_code >= 400 else _opened(response)
            case NextLine():
                return await anext(drive.lines, None)
            case Pause(seconds):
                await asyncio.sleep(seconds)
                return None
            case Item():
                raise AssertionError("items are given, not done")


class _Drive(Generic[Answered]):
    """A flow on its way: the step it waits for, or what it returned."""

    def __init__(self, flow: Flow[Answered]) -> None:
        self._flow = flow
        self.done = False
        self.step: Step
        self.returned: Answered
        self.lines: Any = iter(())
        self._go_on(flow.send, None)

    def answer(self, answer: Any) -> None:
        self._go_on(self._flow.send, answer)

    def refuse(self, error: Exception) -> None:
        self._go_on(self._flow.throw, error)

    def _go_on(self, move: Callable[[Any], Step], said: Any) -> None:
        try:
            self.step = move(said)
        except StopIteration as end:
            self.done, self.returned = True, end.value


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


def _opened(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, b"")
