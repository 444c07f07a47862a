"""NICo, for the suite of every dialect."""

import time
from collections.abc import Iterator
from typing import Any

import jwt

from taskyard.core.errors import Invalid
from taskyard.core.operation import Operation, RackWork
from taskyard.core.task import Task
from taskyard.http.refusal import Changed
from taskyard.service.inventory import read_inventory
from tests.conftest import Yard
from tests.dialects.nico.wire import ORG, inventory
from tests.dialects.shared import Place, Sample, Wire

SHARED_SECRET = "what the issuer signs its tokens with"
ROOT = f"/v2/org/{ORG}/nico"


def bearer(
    organisation: str, *, secret: str = SHARED_SECRET, ends_in: int = 600, **claims: Any
) -> dict[str, str]:
    claims = {
        "sub": "8f1e",
        "exp": int(time.time()) + ends_in,
        "realm_access": {"roles": [f"{organisation}:FORGE_PROVIDER_ADMIN"]},
        **claims,
    }
    return {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}


def furnish(yard: Yard) -> Place:
    document = inventory()
    document["site"][0]["organisation"] = "default"
    site, *_ = yard.write(yard.services.sites.load, read_inventory(document))
    assert site.organisation == yard.organisation
    rack, *_ = yard.read(yard.services.sites.racks, site)
    trays = [tray for tray in yard.read(yard.services.sites.trays, site) if tray.rack == rack.id]
    work = RackWork(
        operation=Operation.POWER,
        code="power_on",
        rack=rack.id,
        site=site.id,
        components={tray.kind: [tray.id] for tray in trays},
    )
    task = {
        "type": "rack.power",
        "queue": "racks",
        "input": work.document(),
        "labels": {"site": site.id, "rack": rack.id},
    }
    return Place(
        credentials=bearer(ORG),
        stranger=bearer("stranger", sub="another"),
        task=task,
        names={"org": ORG},
        query={"siteId": site.id},
        settings={
            "shared_secret": SHARED_SECRET,
            "secret_key": "a key to seal credentials with",
            "organisations": {ORG: "default"},
        },
        more={"site": site.id, "rack": rack.id, "tray": trays[0].id},
    )


def is_error(body: Any, status: int) -> bool:
    return body.keys() == {"source", "message", "data"} and body["source"] == "nico" and bool(body["message"])


def look(wire: Wire, task: Task) -> str:
    shown = wire.ask("GET", f"{ROOT}/task/{task.id}", params=wire.place.query).json()
    assert wire.ask("GET", f"{ROOT}/rack/task/{task.id}", params=wire.place.query).json() == shown
    return str(shown["status"])


def walk(wire: Wire) -> Iterator[list[str]]:
    number = 1
    while True:
        asked = {**wire.place.query, "pageSize": "2", "pageNumber": str(number)}
        page = wire.ask("GET", f"{ROOT}/task", params=asked).json()
        if not page:
            return
        yield [task["id"] for task in page]
        number += 1


def bodies(place: Place) -> list[tuple[str, str, Any]]:
    site, rack, tray = (place.more[name] for name in ("site", "rack", "tray"))
    power = {"siteId": site, "state": "on", "overrideReadinessCheck": True}
    secrets = {"shared": "s", "perComponent": None}
    step = {
        "componentType": "Compute",
        "stage": 1,
        "maxParallel": 2,
        "timeout": "5m",
        "retry": {"maxAttempts": 2, "initialInterval": "1s", "backoffCoefficient": 2.0, "maxInterval": "1m"},
        "preOperation": [{"name": "Sleep", "parameters": {"duration": "1s"}}],
        "mainOperation": {"name": "PowerControl", "timeout": "1m"},
        "delayAfter": "1s",
    }
    rule = {
        "siteId": site,
        "name": "mine",
        "description": "d",
        "operationType": "PowerControl",
        "operationCode": "power_on",
        "ruleDefinition": {"version": "v1", "steps": [step]},
    }
    nobody = "0c0ffee0-0000-4000-8000-000000000000"
    run = {
        "siteId": site,
        "name": "all",
        "description": "d",
        "selector": {"percentage": {"percent": 50, "seed": "s"}},
        "options": {
            "maxConcurrentTargets": 2,
            "safetyPolicy": {
                "gates": [
                    {"failureRate": {"scope": "currentPhase", "thresholdPercent": 10}},
                    {"failureCount": {"scope": "cumulativeRun", "thresholdCount": 5}},
                ]
            },
            "conflictPolicy": {
                "retry": {"retryTimeout": "30m", "initialRetryDelay": "10s", "maxRetryDelay": "5m"}
            },
            "orderingPolicy": {"random": {"seed": "s"}},
            "phasePolicy": {"count": {"phases": [1]}, "autoAdvance": False},
        },
        "operation": {
            "firmware": {
                "version": "1",
                "ruleId": None,
                "overrideReadinessCheck": False,
                "subTargets": ["bmc"],
            },
            "excludeRunIds": [nobody],
        },
    }
    return [
        ("PATCH", f"{ROOT}/rack/{rack}/power", power),
        ("PATCH", f"{ROOT}/rack/power", {**power, "filter": {"names": ["Rack-01"]}}),
        ("PATCH", f"{ROOT}/tray/{tray}/firmware", {"siteId": site, "version": "1", "targets": ["bmc"]}),
        ("PATCH", f"{ROOT}/rack/{rack}/firmware", {"siteId": site, "authenticationData": secrets}),
        (
            "PATCH",
            f"{ROOT}/tray/power",
            {**power, "filter": {"rackName": "Rack-01", "type": "Compute", "slotId": 1}},
        ),
        ("POST", f"{ROOT}/rack/{rack}/bringup", {"siteId": site, "description": "up"}),
        ("POST", f"{ROOT}/task/rule", rule),
        ("PUT", f"{ROOT}/rack/{rack}/task/rule", {"siteId": site, "ruleId": nobody}),
        ("POST", f"{ROOT}/task/run", run),
        ("POST", f"{ROOT}/task/run/{nobody}/advance", {"siteId": site, "expectedPhaseIndex": 1}),
        ("POST", f"{ROOT}/task/run/{nobody}/cancel", {"siteId": site, "reason": "r"}),
    ]


sample = Sample(
    furnish=furnish,
    wrong=(
        bearer(ORG, secret="signed by somebody else altogether"),
        bearer(ORG, ends_in=-600),
        {"Authorization": f"Bearer {jwt.encode({'sub': 'x'}, None, algorithm='none')}"},
        {"Authorization": f"Bearer {jwt.encode({'sub': 'x'}, SHARED_SECRET, algorithm='HS256')}"},
    ),
    is_error=is_error,
    statuses={Invalid: 400, Changed: 409},
    look=look,
    words={"expired": "Terminated"},
    walk=walk,
    repeats=True,
    lists=lambda place: f"{ROOT}/task",
    parameters=("siteId", "activeOnly", "includeReport", "pageNumber", "pageSize"),
    bodies=bodies,
    theirs=lambda wire, task: (
        ("GET", f"{ROOT}/task/{task.id}?siteId={wire.place.more['site']}", None),
        ("GET", f"{ROOT}/task?siteId={wire.place.more['site']}", None),
        ("POST", f"{ROOT}/task/{task.id}/cancel", {"siteId": wire.place.more["site"]}),
    ),
    hides=frozenset({403}),
)
