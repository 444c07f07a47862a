"""The client on a real server, each sentence for both of its faces."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskyard.client import AsyncClient, Client, StillOpen, TaskFailed
from taskyard.client.feed import BEGINNING
from taskyard.core.errors import Conflict, Invalid, NotFound, Unauthenticated, WrongState
from taskyard.core.task import NewTask
from tests.served import PATIENCE_SECONDS, Served

Until = Callable[[list[Any]], bool]


def never(_: list[Any]) -> bool:
    """Take everything there is."""
    return False


def so_many(count: int) -> Until:
    return lambda given: len(given) == count


class Blocking:
    """Calls the blocking face."""

    def __init__(self, url: str, key: str) -> None:
        self._client = Client(url, key)

    def call(self, name: str, /, *args: Any, **named: Any) -> Any:
        return getattr(self._client, name)(*args, **named)

    def each(self, name: str, /, *args: Any, until: Until = never, **named: Any) -> list[Any]:
        given = []
        for one in getattr(self._client, name)(*args, **named):
            given.append(one)
            if until(given):
                break
        return given

    def close(self) -> None:
        self._client.close()


class Awaited:
    """Calls the awaited face, on an event loop of its own."""

    def __init__(self, url: str, key: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = AsyncClient(url, key)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    def call(self, name: str, /, *args: Any, **named: Any) -> Any:
        return self._run(getattr(self._client, name)(*args, **named))

    def each(self, name: str, /, *args: Any, until: Until = never, **named: Any) -> list[Any]:
        async def gather() -> list[Any]:
            given = []
            items = getattr(self._client, name)(*args, **named)
            async for one in items:
                given.append(one)
                if until(given):
                    break
            await items.aclose()
            return given

        return self._run(gather())

    def close(self) -> None:
        self._run(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[Any]:
    face = request.param(served.url, served.key)
    yield face
    face.close()


@pytest.fixture
def mark() -> str:
    """A name nobody else uses."""
    return f"t-{uuid.uuid4().hex}"


def test_a_task_is_submitted_run_and_its_output_read(client):
    task = client.call("submit", "greet", {"name": "Ana"})

    assert task.is_open
    assert client.call("result", task.id, timeout=PATIENCE_SECONDS) == "hello Ana"
    done = client.call("get", task.id)
    assert (done.state, done.input, done.output, done.claims) == (
        "succeeded",
        {"name": "Ana"},
        "hello Ana",
        1,
    )
    assert done.started_at is not None
    assert done.started_at >= done.created_at


def test_many_are_submitted_together_and_each_is_answered_for_itself(client, mark):
    answers = client.call(
        "submit_many",
        [NewTask(type="greet", labels={"mark": mark}), {"type": "not a name"}, {"type": "greet"}],
    )

    assert [type(answer).__name__ for answer in answers] == ["TaskView", "Invalid", "TaskView"]
    assert answers[0].labels == {"mark": mark}
    assert answers[1].faults[0].pointer == "/tasks/1/type"


def test_more_than_a_request_holds_are_submitted_in_several(client, mark):
    answers = client.call("submit_many", ({"type": "absent", "labels": {"mark": mark}} for _ in range(1001)))

    assert len({answer.id for answer in answers}) == 1001
    assert len(client.each("search", labels={"mark": mark})) == 1001


def test_the_same_idempotency_key_is_the_same_task(client, mark):
    first = client.call("submit", "absent", idempotency_key=mark)
    again = client.call("submit", "absent", idempotency_key=mark)

    assert again.id == first.id


def test_a_key_that_is_taken_is_refused_and_tells_by_whom(client, mark):
    first = client.call("submit", "absent", key=mark)

    with pytest.raises(Conflict) as refused:
        client.call("submit", "absent", key=mark)
    assert refused.value.existing == first.id
    assert client.call("submit", "absent", key=mark, on_conflict="return").id == first.id


def test_lists_are_lean_unless_asked_to_expand(client, mark):
    client.call("submit", "absent", {"n": 1}, labels={"mark": mark})

    [lean] = client.each("search", labels={"mark": mark})
    [full] = client.each("search", labels={"mark": mark}, expand=["input"])

    assert (lean.input, full.input) == (None, {"n": 1})


def test_pages_follow_one_another(client, mark):
    ids = [client.call("submit", "absent", labels={"mark": mark}).id for _ in range(5)]

    found = client.each("search", labels={"mark": mark}, page_size=2)

    assert [task.id for task in found] == ids[::-1]


def test_a_task_that_fails_says_why(client):
    task = client.call("submit", "fail", {"message": "out of paper"})

    with pytest.raises(TaskFailed, match="out of paper") as failed:
        client.call("result", task.id, timeout=PATIENCE_SECONDS)
    assert failed.value.task.error.code == "broken"


def test_waiting_ends_with_the_time_given(client):
    task = client.call("submit", "absent")

    with pytest.raises(StillOpen, match="still ready"):
        client.call("wait", task.id, timeout=timedelta(milliseconds=50))


def test_a_watch_gives_every_change_until_the_end(client):
    task = client.call("submit", "show")
    seen = client.each("watch", task.id, until=lambda given: given[-1].state == "suspended")
    client.call("send_event", f"go:{task.id}", {"ok": True})

    last = client.each("watch", task.id)[-1]

    assert seen[-1].progress == {"done": 1, "total": 3}
    assert (last.state, last.output, last.progress) == ("succeeded", 3, {"done": 1, "total": 3})
    assert [result.value for result in client.each("results", task.id)] == [{"size": 3}, {"size": 3}]
    assert {step.name for step in client.each("steps", task.id)} == {"measure", f"event:go:{task.id}"}
    assert "task.succeeded" in [event.kind for event in client.each("task_events", task.id)]


def test_an_event_is_sent_once(client, mark):
    assert client.call("send_event", mark) is True
    assert client.call("send_event", mark) is False


def test_children_are_found_by_their_parent(client):
    task = client.call("submit", "double", {"numbers": [1, 2, 3]})

    assert client.call("result", task.id, timeout=PATIENCE_SECONDS) == 12
    assert sorted(child.output or 0 for child in client.each("children", task.id)) in ([0, 0, 0], [2, 4, 6])


def test_what_a_task_prints_is_kept(client):
    task = client.call("submit", "greet", {"name": "log"})
    client.call("wait", task.id, timeout=PATIENCE_SECONDS)

    [log] = client.each("logs", task.id)

    assert (log.attempt, log.text) == (1, "greeting log\n")


def test_a_task_that_runs_is_asked_to_stop(client):
    task = client.call("submit", "spin")
    client.each("watch", task.id, until=lambda given: given[-1].message == "spinning")

    client.call("cancel", task.id)

    assert client.call("wait", task.id, timeout=PATIENCE_SECONDS).state == "canceled"


def test_a_task_that_has_ended_is_submitted_again_as_a_new_one(client):
    task = client.call("submit", "absent")
    client.call("cancel", task.id)

    again = client.call("retry", task.id)

    assert (again.retry_of, again.state) == (task.id, "ready")


def test_a_scheduled_task_can_be_run_now(client):
    task = client.call("submit", "greet", run_at=datetime.now(UTC) + timedelta(days=1))
    assert task.state == "scheduled"

    client.call("run_now", task.id)

    assert client.call("result", task.id, timeout=PATIENCE_SECONDS) == "hello world"


def test_what_cannot_be_is_refused_by_name(client):
    with pytest.raises(NotFound):
        client.call("get", "nobody")
    with pytest.raises(Invalid) as invalid:
        client.call("submit", "greet", priority=10**9)
    assert [fault.pointer for fault in invalid.value.faults] == ["/priority"]
    task = client.call("submit", "greet")
    client.call("wait", task.id, timeout=PATIENCE_SECONDS)
    with pytest.raises(WrongState) as wrong:
        client.call("cancel", task.id)
    assert wrong.value.allowed == ("retry",)


def test_a_key_nobody_made_is_refused(served):
    with Client(served.url, "nonsense") as stranger, pytest.raises(Unauthenticated):
        stranger.me()


def test_labels_are_given_anew(client, mark):
    task = client.call("submit", "absent", labels={"old": "yes"})

    assert client.call("relabel", task.id, {"mark": mark}).labels == {"mark": mark}


def test_a_task_that_does_not_run_is_explained(client):
    task = client.call("submit", "absent")

    explained = client.call("explain", task.id)

    assert explained["reasons"]


def test_a_queue_is_made_set_paused_and_deleted(client, mark):
    made = client.call(
        "create_queue", mark, concurrency=2, rate={"count": 10, "period": 60}, lease=timedelta(minutes=5)
    )
    assert (made.concurrency, made.rate.count, made.rate.period_seconds, made.lease_seconds) == (
        2,
        10,
        60.0,
        300.0,
    )

    changed = client.call("change_queue", mark, concurrency=None, rate=None)
    assert (changed.concurrency, changed.rate) == (None, None)
    assert client.call("pause_queue", mark).paused
    client.call("submit", "greet", queue=mark)
    assert client.call("queue", mark).counts["ready"] == 1
    assert mark in [queue.name for queue in client.each("queues")]
    with pytest.raises(Conflict):
        client.call("delete_queue", mark)
    assert not client.call("resume_queue", mark).paused


def test_a_schedule_is_made_triggered_and_deleted(client, mark):
    made = client.call(
        "create_schedule", mark, "cron", "0 3 * * *", NewTask(type="greet"), timezone="Europe/Zurich"
    )
    assert made.next_at is not None

    task = client.call("trigger_schedule", mark)
    assert client.call("result", task.id, timeout=PATIENCE_SECONDS) == "hello world"
    assert client.call("pause_schedule", mark).paused
    assert not client.call("resume_schedule", made.id).paused
    assert client.call("change_schedule", mark, spec="0 4 * * *").spec == "0 4 * * *"
    assert mark in [schedule.name for schedule in client.each("schedules")]
    client.each("firings", mark)
    client.call("delete_schedule", mark)
    with pytest.raises(NotFound):
        client.call("schedule", mark)


def test_a_key_is_made_rotated_and_revoked(client, served, mark):
    made = client.call("create_key", mark, permissions=["tasks:read"])
    with Client(served.url, made.secret) as reader:
        assert reader.me()
        with pytest.raises(Exception, match="tasks:submit"):
            reader.submit("greet")
    rotated = client.call("rotate_key", made.id)
    client.call("revoke_key", rotated.id)

    with Client(served.url, rotated.secret) as revoked, pytest.raises(Unauthenticated):
        revoked.me()


def test_a_user_is_made_and_changed(client, mark):
    made = client.call("create_user", mark, name="Ana", role="member", password="correct horse battery")

    assert client.call("change_user", made.number, role="viewer").role == "viewer"
    assert mark in [user.login for user in client.each("users")]


def test_the_worker_of_the_server_is_there(client):
    [worker] = [worker for worker in client.each("workers") if worker.state == "active"]

    assert {"queue": "default", "type": "greet"} in worker.lanes


def test_the_feed_is_read_from_its_beginning_and_goes_on(client):
    task = client.call("submit", "greet")
    client.call("wait", task.id, timeout=PATIENCE_SECONDS)

    past = client.each("events", type="greet", follow=False)
    [first] = client.each("events", after=BEGINNING, type="greet", until=so_many(1))

    assert {"task.submitted", "task.started", "task.succeeded"} <= {
        event.kind for event in past if event.subject == task.id
    }
    assert first.id == past[0].id


def test_people_claim_draft_and_complete(served, client, mark):
    client.call("create_queue", mark, kind="human")
    first, second, third = (client.call("submit", "approve", {"n": n}, queue=mark) for n in range(3))

    claimed = client.call("claim_next", mark)
    assert claimed.id == first.id
    client.call("extend", first.id, timedelta(hours=1))
    client.call("draft", first.id, {"ok": None})
    assert client.call("complete", first.id, {"ok": True}).output == {"ok": True}
    client.call("claim", second.id)
    assert client.call("release", second.id).state == "ready"
    client.call("claim", third.id)
    assert client.call("fail", third.id, "cannot read it").error.message == "cannot read it"
    client.call("claim_next", mark)
    assert client.call("claim_next", mark) is None
