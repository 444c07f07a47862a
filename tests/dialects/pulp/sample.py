"""Pulp, for the suite of every dialect."""

import base64
from typing import Any

from taskyard.core.actor import ALL, Actor
from taskyard.core.errors import Forbidden, Invalid
from tests.conftest import Yard
from tests.dialects.shared import Place, Sample

PASSWORD = "correct horse battery"


def basic(login: str, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()}


def furnish(yard: Yard) -> Place:
    for login, organisation in (
        ("ana", yard.organisation),
        ("bo", yard.other_organisation("not-pulp").organisation),
    ):
        admin = Actor(organisation=organisation, identity="system", permissions=ALL)
        yard.write(yard.services.accounts.create_user, admin, login, role="admin", password=PASSWORD)
    return Place(
        credentials=basic("ana"),
        stranger=basic("bo"),
        task={"type": "noop", "input": {"args": ["1"]}},
        settings={"culling": False},  # what is listed is what a test has made
    )


def is_error(body: Any, status: int) -> bool:
    return isinstance(body, str) and bool(body)


sample = Sample(
    furnish=furnish,
    wrong=(basic("ana", "wrong"), basic("nobody"), basic("ana", ""), basic("a\0na"), basic("ana", "\0")),
    is_error=is_error,
    statuses={Forbidden: 401, Invalid: 400},
    sees_all=True,
    look=lambda wire, task: wire.ask("GET", f"/tasks/{task.id}/").json()["state"],
    words={"timed_out": "timed_out"},
    # This wire has no pages: its list is whole.
    walk=lambda wire: iter([[task["id"] for task in wire.ask("GET", "/tasks/").json()]]),
    lists=lambda place: "/tasks/",
    parameters=("id", "state"),
    # Nothing is made over this wire, and no request has a body.
    bodies=lambda place: (),
    theirs=lambda wire, task: (
        ("GET", f"/tasks/{task.id}/", None),
        ("POST", f"/tasks/{task.id}/cancel/", None),
        ("DELETE", f"/tasks/{task.id}/", None),
    ),
)
