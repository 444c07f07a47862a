"""Human Lambdas, for the suite of every dialect."""

from collections.abc import Iterator
from typing import Any

from taskyard.core.actor import ALL, Actor
from taskyard.core.errors import Invalid
from taskyard.core.outcome import Done
from taskyard.core.queue import Kind, QueueSettings
from taskyard.core.task import Task
from tests.conftest import Yard
from tests.dialects.shared import Place, Sample, Wire

BLOCKS = [
    {"id": "comment", "name": "Comment", "type": "text", "text": {"read_only": True}},
    {"id": "size", "name": "Size", "type": "number"},
    {"id": "approve", "name": "Approve", "type": "binary"},
]


def token(yard: Yard, organisation: int) -> dict[str, str]:
    admin = Actor(organisation=organisation, identity="system", permissions=ALL)
    key = yard.write(yard.services.accounts.create_key, admin, "api", settings={"secret": "hex"})
    return {"Authorization": f"Token {key.secret}"}


def furnish(yard: Yard) -> Place:
    settings = QueueSettings(kind=Kind.HUMAN, form=BLOCKS, title="Moderate")
    queue = yard.write(yard.services.queues.create, yard.actor, "moderate", settings)
    return Place(
        credentials=token(yard, yard.organisation),
        stranger=token(yard, yard.other_organisation("not-human_lambdas").organisation),
        task={"type": "question", "queue": "moderate", "input": {"comment": "hello"}},
        names={"org": str(yard.organisation)},
        more={
            "queue": f"/orgs/{yard.organisation}/queues/{queue.number}",
            "org": f"/orgs/{yard.organisation}",
        },
    )


def is_error(body: Any, status: int) -> bool:
    told = body["errors"]
    return (
        body.keys() == {"status_code", "errors"}
        and body["status_code"] == status
        and bool(told)
        and all("message" in each and each.keys() <= {"field", "message"} for each in told)
    )


def look(wire: Wire, task: Task) -> str | None:
    """This wire shows a task once it is completed; of others it tells in which queues there are some of a state."""
    for page in pages(wire):
        for each in page:
            if each["id"] == task.number:
                return str(each["status"])
    queues = f"{wire.place.more['org']}/queues"
    words = [
        word
        for word in ("new", "open", "in_progress", "completed")
        if wire.ask("GET", queues, params={"task_status": word}).json()
    ]
    assert len(words) <= 1, words
    return words[0] if words else None


def pages(wire: Wire) -> Iterator[list[Any]]:
    following = f"{lists(wire.place)}?limit=2"
    while following:
        page = wire.ask("GET", following).json()
        yield page["tasks"]
        following = (page["next"] or "").partition(wire.root)[2]


def lists(place: Place) -> str:
    return f"{place.more['queue']}/tasks/completed"


def complete(wire: Wire) -> Task:
    wire.yard.submit(**wire.place.task)
    [attempt] = wire.yard.worker("question", queue="moderate").claim()
    return wire.yard.settle(attempt, Done({"comment": "hello", "approve": True}))


sample = Sample(
    furnish=furnish,
    wrong=(
        {"Authorization": "Token " + "0" * 40},
        {"Authorization": "Token a b"},
        {"Authorization": "Token a\tb"},
    ),
    is_error=is_error,
    statuses={Invalid: 400},
    look=look,
    words={
        **dict.fromkeys(("retried", "later", "again", "waits"), "open"),
        **dict.fromkeys(
            ("failed", "timed_out", "lost", "expired", "canceled")
        ),  # the wire has no list of these
    },
    show=complete,
    walk=lambda wire: ([task["id"] for task in page] for page in pages(wire)),
    repeats=True,
    id_of=lambda task: task.number,
    lists=lists,
    parameters=("limit", "offset", "start_date", "end_date", "worker_id", "source_id", "queue_id", "correct"),
    bodies=lambda place: (
        (
            "POST",
            f"{place.more['queue']}/tasks/create",
            {"data": {"comment": "a", "size": 3, "approve": True}},
        ),
        ("POST", f"/zapier/{place.more['queue'].rpartition('/')[2]}/create-task", {"data": {"comment": "a"}}),
    ),
    theirs=lambda wire, task: (
        ("GET", lists(wire.place), None),
        ("GET", wire.place.more["queue"], None),
        ("POST", f"{wire.place.more['queue']}/tasks/create", {"data": {"comment": "a"}}),
        ("PUT", f"{wire.place.more['queue']}/flush", None),
    ),
    hides=frozenset({403}),
    always=frozenset({"HEAD", "OPTIONS"}),
)
