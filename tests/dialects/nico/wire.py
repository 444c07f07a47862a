"""The dialect before a yard with sites, and short words for what its tests do all the time."""

import asyncio
import json
from datetime import timedelta

import httpx
from uuid_utils import uuid7

from taskyard.core.actor import Actor
from taskyard.dialects.nico import dialect
from taskyard.dialects.nico.settings import settings_of
from taskyard.http.dialect import Backend, application
from taskyard.loops.driver import SimulatedSite
from taskyard.loops.handlers import Handlers
from taskyard.loops.plan import Plans
from taskyard.loops.store_desk import StoreDesk
from taskyard.loops.worker import Worker
from taskyard.service.inventory import read_inventory
from taskyard.service.operations import QUEUE

ORG = "acme-inc"
DOMAIN = "0c0ffee0-0000-4000-8000-00000000d0d0"


def new_id():
    return str(uuid7())


def inventory():
    rack = {
        "name": "Rack-01",
        "manufacturer": "Dell",
        "model": "R1",
        "serial": "SN-1",
        "domains": [DOMAIN],
        "location": {"region": "north", "datacenter": "DC", "room": "A", "position": "1"},
        "tray": [
            {"kind": "PowerShelf", "name": "shelf-1"},
            {"kind": "NVSwitch", "name": "switch-1"},
            {
                "kind": "Compute",
                "name": "compute-1",
                "slot": 1,
                "position": 0,
                "host": 1,
                "component": "fm-1",
                "power": "off",
                "bmc": [{"type": "host", "mac": "AA:BB", "ip": "10.0.0.1"}],
            },
            {"kind": "Compute", "name": "compute-2", "slot": 2, "component": "fm-2"},
        ],
    }
    other = {
        "name": "Rack-02",
        "manufacturer": "Acer",
        "tray": [{"kind": "Compute", "name": "compute-9", "slot": 1}],
    }
    return {
        "site": [
            {"name": "dc-1", "organisation": ORG, "rack": [rack, other]},
            {"name": "dc-2", "organisation": ORG, "operable": False},
            {"name": "dc-3", "organisation": "stranger"},
        ]
    }


class Wire:
    """The dialect, asked over HTTP, with short words for what the tests do all the time."""

    def __init__(self, yard, settings, mint):
        self.yard = yard
        self.backend = Backend(
            store=yard.store, services=yard.services, new_id=new_id, settings={"nico": settings}
        )
        self.app = application(dialect, self.backend)
        self.mint = mint
        self.hardware = SimulatedSite(takes=timedelta(0))
        self.sites = yard.write(yard.services.sites.load, read_inventory(inventory()))
        self.site, self.no_flow, self.foreign = (site.id for site in self.sites)
        self.actor = Actor(organisation=self.sites[0].organisation, identity="system")
        racks = yard.read(yard.services.sites.racks, self.sites[0])
        trays = yard.read(yard.services.sites.trays, self.sites[0])
        self.racks = {rack.name: rack.id for rack in racks}
        self.trays = {tray.name: tray.id for tray in trays}
        self.rack, self.tray = self.racks["Rack-01"], self.trays["compute-1"]
        self.admin = mint(f"{ORG}:FORGE_PROVIDER_ADMIN")

    def ask(self, method, path, *, body=None, token="admin", org=ORG, query=None, raw=None, headers=None):
        token = self.admin if token == "admin" else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        content = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        return self.send(method, f"/v2/org/{org}/nico{path}", params=query, content=content, headers=headers)

    def send(self, method, path, **request):
        async def exchange():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://yard") as client:
                return await client.request(method, path, **request)

        return asyncio.run(exchange())

    def get(self, path, **query):
        return self.ask("GET", path, query={"siteId": self.site, **query})

    def power(self, state="on", *, rack="Rack-01", tray=None, **body):
        path = f"/tray/{self.trays[tray]}/power" if tray else f"/rack/{self.racks[rack]}/power"
        answer = self.ask("PATCH", path, body={"siteId": self.site, "state": state, **body})
        assert answer.status_code == 200, answer.text
        [id] = answer.json()["taskIds"]
        return id

    def rule(self, *steps, **body):
        one = {"componentType": "Compute", "stage": 1, "mainOperation": {"name": "PowerControl"}}
        definition = {"version": "v1", "steps": list(steps) or [one]}
        body = {
            "siteId": self.site,
            "name": "Custom power on",
            "operationType": "PowerControl",
            "operationCode": "power_on",
            "ruleDefinition": definition,
            **body,
        }
        answer = self.ask("POST", "/task/rule", body=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def work(self):
        """Let a worker carry out what is ready."""

        async def no_wait(seconds):
            return None

        plans = Plans(
            self.yard.store,
            self.yard.services,
            {"simulated": self.hardware},
            now=self.yard.clock,
            sleep=no_wait,
            seal=self.seal,
        )
        handlers = Handlers()
        for handler in plans.handlers():
            handlers.add(handler)
        desk = StoreDesk(self.yard.store, self.yard.services, self.actor)
        Worker(desk, handlers, new_id=new_id, jitter=lambda: 0.0, until_idle=True).run()

    def roll(self):
        """Carry on what runs over many racks."""
        for number in self.yard.read(lambda records: records.rollouts.open()):
            self.yard.write(self.yard.services.rollouts.carry_on, number)

    @property
    def seal(self):
        return settings_of(self.backend).seal

    def finished(self):
        """Return the id of a task that has succeeded."""
        rule = self.rule()
        id = self.power("on", tray="compute-1", ruleId=rule["id"])
        self.work()
        return id

    def running(self, tray="compute-1"):
        """Return the id of a task that somebody is at."""
        id = self.power("on", tray=tray)
        worker = self.hire()
        [claimed] = worker.claim(1)
        assert claimed.id == id
        return id

    def hire(self):
        yard = self.yard
        kept, yard.actor = yard.actor, self.actor
        try:
            worker = yard.worker("rack.power", "rack.firmware", "rack.bring_up", queue=QUEUE)
        finally:
            yard.actor = kept
        worker.yard = _As(yard, self.actor)
        return worker


class _As:
    """A yard as somebody else sees it."""

    def __init__(self, yard, actor):
        self._yard, self.actor = yard, actor

    def __getattr__(self, name):
        return getattr(self._yard, name)
