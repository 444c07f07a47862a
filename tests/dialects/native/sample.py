"""The native API, for the suite of every dialect."""

from collections.abc import Iterator
from typing import Any

from taskyard.core.actor import ALL, Actor
from tests.conftest import Yard
from tests.dialects.shared import Place, Sample, Wire


def bearer(yard: Yard, organisation: int) -> dict[str, str]:
    admin = Actor(organisation=organisation, identity="system", permissions=ALL)
    key = yard.write(yard.services.accounts.create_key, admin, "test")
    return {"Authorization": f"Bearer {key.secret}"}


def furnish(yard: Yard) -> Place:
    ours = bearer(yard, yard.organisation)
    return Place(credentials=ours, stranger=bearer(yard, yard.other_organisation("not-native").organisation))


def is_error(body: Any, status: int) -> bool:
    members = {"type", "title", "status", "detail", "instance", "code", "request_id"}
    return members <= body.keys() and body["status"] == status


def walk(wire: Wire) -> Iterator[list[str]]:
    asked = {"page_size": "2"}
    while True:
        page = wire.ask("GET", "/tasks", params=asked).json()
        yield [task["id"] for task in page["tasks"]]
        if not page.get("next_page_token"):
            return
        asked["page_token"] = page["next_page_token"]


NEW = {
    "type": "resize",
    "queue": "images",
    "input": {"width": 3},
    "labels": {"a": "b"},
    "priority": 3,
    "run_at": "2026-03-01T12:00:00Z",
    "timeout": 30,
    "key": "k",
    "on_conflict": "return",
    "blocked_by": [],
}

sample = Sample(
    furnish=furnish,
    wrong=({"Authorization": "Bearer ty_wrong"}, {"Authorization": "Bearer a\tb"}),
    is_error=is_error,
    error_media="application/problem+json",
    sees_all=True,
    look=lambda wire, task: wire.ask("GET", f"/tasks/{task.id}").json()["state"],
    walk=walk,
    lists=lambda place: "/tasks",
    parameters=(
        "page_size",
        "page_token",
        "state",
        "type",
        "queue",
        "key",
        "parent",
        "holder",
        "label.a",
        "order",
        "created_at[gte]",
        "created_at[lt]",
        "finished_at[gte]",
    ),
    bodies=lambda place: (
        ("POST", "/tasks", NEW),
        ("POST", "/tasks:batch", {"tasks": [NEW]}),
        ("POST", "/queues", {"name": "q", "concurrency": 1}),
        ("POST", "/schedules", {"name": "s", "timing": "interval", "spec": "PT1H", "task": {"type": "a"}}),
        ("POST", "/leases:register", {"name": "w", "lanes": [{"queue": "q", "type": "t"}], "slots": 1}),
        ("POST", "/keys", {"name": "k"}),
    ),
    theirs=lambda wire, task: (
        ("GET", f"/tasks/{task.id}", None),
        ("GET", f"/tasks/{task.id}:explain", None),
        ("GET", f"/tasks/{task.id}/events", None),
        ("POST", f"/tasks/{task.id}:cancel", None),
        ("POST", f"/tasks/{task.id}:retry", None),
    ),
)
