"""The dialect before a yard with the mock source, and short words for what its tests do all the time."""

import asyncio
import json

import httpx

from taskyard.core.actor import ALL, Actor
from taskyard.dialects.ricloud import dialect
from taskyard.dialects.ricloud.notify import composer
from taskyard.http.dialect import Backend, application
from taskyard.loops.connector import MockSource
from taskyard.loops.fetching import Fetching
from taskyard.loops.handlers import Handlers
from taskyard.loops.proving import Proving
from taskyard.loops.storage import LocalStorage
from taskyard.loops.store_desk import StoreDesk
from taskyard.loops.worker import Worker
from taskyard.service.seal import Seal
from tests.conftest import new_id

#: What the wire's own client sends with every call; it declares no content type.
HEADERS = {"User-Agent": "ricloud-py/3.2.0", "Accept": "*/*", "Ricloud-Await": "0"}


class Wire:
    """A client of one key; ``as_`` gives another's."""

    def __init__(self, yard, folder, *connectors, token=None):
        self.yard = yard
        self.folder = folder
        self.seal = Seal("what seals the credentials of tests")
        self.backend = Backend(
            store=yard.store,
            services=yard.services,
            new_id=new_id,
            settings={"sources": {"seal": self.seal}},
        )
        self.app = application(dialect, self.backend)
        self.connectors = connectors or (MockSource(),)
        self.posted = []
        self.receiver_answers = 200
        self.token = token or self.key(yard.organisation)

    def key(self, organisation, **named):
        """Make a key of an organisation; return its token."""
        actor = Actor(organisation=organisation, identity="system", permissions=ALL)
        return self.yard.write(self.yard.services.accounts.create_key, actor, "tests", **named).secret

    def stranger(self):
        """Return a client of another organisation."""
        return Wire(self.yard, self.folder, token=self.key(self.yard.other_organisation().organisation))

    # -- ask -----------------------------------------------------------------------------------------------------------------

    def ask(self, method, path, body=None, *, raw=None, query=None, token="own", headers=None):
        token = self.token if token == "own" else token
        sent = {**HEADERS, **({"Authorization": f"Token {token}"} if token else {}), **(headers or {})}
        content = raw if raw is not None else (json.dumps(body) if method == "POST" else None)

        async def exchange():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://yard") as client:
                return await client.request(method, path, params=query, content=content, headers=sent)

        return asyncio.run(exchange())

    def get(self, path, **query):
        answer = self.ask("GET", path, query=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None, status=(200, 201)):
        answer = self.ask("POST", path, body)
        assert answer.status_code in status, answer.text
        return answer.json()

    def delete(self, path):
        answer = self.ask("DELETE", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # -- work ----------------------------------------------------------------------------------------------------------------

    def work(self):
        """Let a worker do what is ready."""

        async def post(letter):
            self.posted.append(letter)
            if isinstance(self.receiver_answers, Exception):
                raise self.receiver_answers
            return self.receiver_answers

        store, services, clock = self.yard.store, self.yard.services, self.yard.clock
        storages = [LocalStorage(self.folder)]
        fetching = Fetching(store, services, self.connectors, storages, seal=self.seal, now=clock)
        proving = Proving(store, services, storages, composer(new_id, clock), post)
        handlers = Handlers()
        for handler in [*fetching.handlers(), *proving.handlers()]:
            handlers.add(handler)
        desk = StoreDesk(store, services, self.yard.actor)
        Worker(desk, handlers, new_id=new_id, jitter=lambda: 0.0, until_idle=True).run()

    def later(self, **span):
        """Move the clock and let a worker do what is ready by then."""
        self.yard.clock.forward(**span)
        self.yard.due()
        self.work()

    # -- what most stories begin with ------------------------------------------------------------------------------------------

    def storage(self):
        """Return the id of a valid storage config."""
        made = self.post("/configs/storage", {"url": f"local://{self.folder}", "credentials": {}})
        self.work()
        return made["id"]

    def user(self, identifier="end-user@example.com"):
        return self.post("/users", {"identifier": identifier})["id"]

    def session(self, password="abcd1234", *, user=None, type="mocks.mock", identifier="john"):
        """Return a session that was just asked for."""
        source = {"user": user or self.user(), "type": type, "identifier": identifier}
        return self.post("/sessions", {"source": source, "payload": {"password": password}})

    def open(self, **named):
        """Return an active session, with a storage for what comes of it."""
        if not self.get("/configs/storage")["data"]:
            self.storage()
        session = self.session(**named)
        self.work()
        return self.get(f"/sessions/{session['id']}")

    def poll(self, session, *data_types, **payload):
        if data_types:
            payload["data_types"] = list(data_types)
        return self.post("/polls", {"session": session["id"], "payload": payload})

    def polled(self, *data_types, **payload):
        """Return a poll of which all is done."""
        poll = self.poll(self.open(), *data_types, **payload)
        self.work()
        return self.get(f"/polls/{poll['id']}")
