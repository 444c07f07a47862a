"""The pulp wire as its tests see it: requests as the era's clients send them, answered in this process."""

import base64
from typing import Any

import httpx

from taskyard.core.actor import ALL, Actor
from taskyard.core.task import Task
from taskyard.dialects.pulp import dialect
from taskyard.http.backend import Backend
from taskyard.http.dialect import application
from taskyard.service.accounts import actor_of
from tests.conftest import Yard, new_id

PASSWORD = "correct horse battery"


class Wire:
    """A client of one user; ``as_`` gives another's."""

    def __init__(self, yard: Yard, login: str | None = "admin", app: Any = None) -> None:
        self.yard = yard
        backend = Backend(store=yard.store, services=yard.services, new_id=new_id)
        self.app = app or application(dialect, backend, at="/pulp/api")
        self.login = login

    def as_(self, login: str | None) -> "Wire":
        return Wire(self.yard, login, self.app)

    def user(self, login: str, role: str) -> Actor:
        """Make a user; return who that is."""
        admin = Actor(organisation=self.yard.organisation, identity="system", permissions=ALL)
        user = self.yard.write(
            self.yard.services.accounts.create_user,
            admin,
            login=login,
            name=login,
            role=role,
            password=PASSWORD,
        )
        return actor_of(user)

    async def ask(self, method: str, path: str, **named: Any) -> httpx.Response:
        headers = {"Accept": "application/json", **named.pop("headers", {})}
        if self.login is not None and "Authorization" not in headers:
            token = base64.b64encode(f"{self.login}:{PASSWORD}".encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://yard") as client:
            return await client.request(method, f"/pulp/api{path}", headers=headers, **named)

    async def get(self, path: str, **named: Any) -> Any:
        answer = await self.ask("GET", path, **named)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make(self, method: str = "noop", *args: str, **named: Any) -> Task:
        return self.yard.submit(method, input={"args": list(args)}, **named)

    def run(self, task: Task) -> Task:
        """Let a worker take *task*; return the attempt."""
        [claimed] = self.yard.worker(task.type, queue=task.queue).claim()
        assert claimed.id == task.id
        return claimed
