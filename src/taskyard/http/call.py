"""The call: one request, as an endpoint sees it."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from taskyard.core.actor import Actor
from taskyard.core.errors import TooLarge
from taskyard.http.backend import Backend

Answer = TypeVar("Answer")


class Call:
    """
    One request.

    ``actor`` is who asks; endpoints that answer anybody (``public``) must not touch it.
    """

    __slots__ = ("_actor", "_body", "backend", "request")

    def __init__(self, request: Request, backend: Backend, actor: Actor | None) -> None:
        self.request = request
        self.backend = backend
        self._actor = actor
        self._body: bytes | None = None

    @property
    def actor(self) -> Actor:
        assert self._actor is not None, "this endpoint is public: nobody in particular asks"
        return self._actor

    @property
    def path(self) -> Mapping[str, Any]:
        """What the pattern's ``{names}`` matched."""
        return self.request.path_params

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, found whatever their case."""
        return self.request.headers

    async def body(self) -> bytes:
        """
        Return the whole body.

        Raises:
            TooLarge: it is longer than the backend accepts; the rest is not read.
        """
        if self._body is None:
            self._body = await _read(self.request, self.backend.max_body_bytes)
        return self._body

    async def while_here(self, waiting: Coroutine[Any, Any, Answer]) -> Answer:
        """
        Wait for *waiting* as long as the client does; the body must have been read.

        Raises:
            ClientDisconnect: the client left; *waiting* was canceled.
        """
        await self.body()
        work = asyncio.ensure_future(waiting)
        left = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientDisconnect
            return work.result()
        finally:
            work.cancel()
            left.cancel()

    async def _left(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


async def _read(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise TooLarge("the request body", int(declared), most)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge("the request body", size, most)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
