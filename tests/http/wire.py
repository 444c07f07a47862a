"""The native API as its tests see it: requests answered in this process, by the application that is served."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from taskyard.core.actor import ALL, Actor
from taskyard.dialects.native import dialect
from taskyard.http.backend import Backend
from taskyard.http.dialect import application
from tests.conftest import Yard, new_id


class Wire:
    """A client with a key that may do everything; ``as_`` gives another's."""

    def __init__(self, yard: Yard, *, max_body_bytes: int = 100_000) -> None:
        self.yard = yard
        self.max_body_bytes = max_body_bytes
        self.secret: str | None = self.key()

    def key(self, *permissions: Any, organisation: int | None = None, **named: Any) -> str:
        """Make a key; return its secret."""
        admin = Actor(organisation=organisation or self.yard.organisation, identity="system", permissions=ALL)
        chosen = permissions or None
        made = self.yard.write(
            self.yard.services.accounts.create_key, admin, "test", permissions=chosen, **named
        )
        return str(made.secret)

    def as_(self, secret: str | None) -> "Wire":
        other = Wire.__new__(Wire)
        other.yard, other.max_body_bytes, other.secret = self.yard, self.max_body_bytes, secret
        return other

    def ask(self, method: str, path: str, body: Any = None, **named: Any) -> httpx.Response:
        """Ask once; *body* is sent as JSON, or as it is when it is bytes."""

        async def once(client: httpx.AsyncClient, _: Backend) -> httpx.Response:
            return await self.send(client, method, path, body, **named)

        return self.together(once)

    async def send(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any = None, **named: Any
    ) -> httpx.Response:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = dict(named.pop("headers", {}))
        if self.secret is not None:
            headers.setdefault("Authorization", f"Bearer {self.secret}")
        return await client.request(method, f"/v1{path}", content=content, headers=headers, **named)

    def together(self, story: Callable[[httpx.AsyncClient, Backend], Awaitable[Any]]) -> Any:
        """Run *story* with a client of an application of its own."""

        async def told() -> Any:
            backend = Backend(
                store=self.yard.store,
                services=self.yard.services,
                new_id=new_id,
                max_body_bytes=self.max_body_bytes,
            )
            transport = httpx.ASGITransport(application(dialect, backend, at="/v1"))
            try:
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://yard", timeout=30
                ) as client:
                    return await story(client, backend)
            finally:
                await backend.close()

        return asyncio.run(told())
