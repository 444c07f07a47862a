"""ricloud, for the suite of every dialect."""

from collections.abc import Iterator
from typing import Any

from taskyard.core.actor import ALL, Actor
from taskyard.core.errors import Invalid
from tests.conftest import Yard
from tests.dialects.shared import Place, Sample, Wire


def token(yard: Yard, organisation: int) -> dict[str, str]:
    admin = Actor(organisation=organisation, identity="system", permissions=ALL)
    key = yard.write(yard.services.accounts.create_key, admin, "test")
    return {"Authorization": f"Token {key.secret}"}


def furnish(yard: Yard) -> Place:
    stranger = yard.other_organisation("not-ricloud").organisation
    user, _ = yard.write(yard.services.sources.welcome, yard.actor, "ana")
    return Place(
        credentials=token(yard, yard.organisation),
        stranger=token(yard, stranger),
        task={"type": "fetch"},
        more={"user": user.number},
    )


def is_error(body: Any, status: int) -> bool:
    return body.keys() - {"params"} == {"error", "message"} and bool(body["error"])


def walk(wire: Wire) -> Iterator[list[str]]:
    asked = {"limit": "2"}
    while True:
        page = wire.ask("GET", "/tasks", params=asked).json()
        yield [task["id"] for task in page["data"]]
        if not page["has_more"]:
            return
        asked["after_id"] = page["data"][-1]["id"]


sample = Sample(
    furnish=furnish,
    wrong=({"Authorization": "Token wrong"}, {"Authorization": "Token ty_a_b"}),
    is_error=is_error,
    statuses={Invalid: 400},
    sees_all=True,
    look=lambda wire, task: wire.ask("GET", f"/tasks/{task.id}").json()["state"],
    walk=walk,
    lists=lambda place: "/tasks",
    parameters=(
        "limit",
        "after_id",
        "before_id",
        "key",
        "user",
        "source",
        "session",
        "poll",
        "source_type",
        "type",
        "state",
        "date_created[gte]",
        "date_started__lt",
        "date_completed",
    ),
    bodies=lambda place: (
        ("POST", "/users", {"identifier": "bo", "key": None}),
        ("POST", f"/users/{place.more['user']}", {"identifier": "ana", "state": "active"}),
        ("POST", "/sources", {"user": place.more["user"], "type": "mocks.mock", "identifier": "john"}),
        ("POST", "/polls", {"session": "x", "source": 1, "payload": {"info_types": ["*"], "files": ["a"]}}),
        ("POST", "/results/ack", {"results": ["0190a000-0000-7000-8000-000000000000"]}),
        ("POST", "/organisation", {"name": "Ours", "config": {}, "storage_config_default": None}),
        ("POST", "/keys", {"name": "k", "webhook_config": None}),
        ("POST", "/configs/webhook", {"url": "https://receiver.example/hooks"}),
        ("POST", "/configs/storage", {"url": "local:///srv/results", "signed_urls_enabled": False}),
    ),
    theirs=lambda wire, task: (
        ("GET", f"/tasks/{task.id}", None),
        ("GET", f"/tasks/{task.id}/results", None),
    ),
)
