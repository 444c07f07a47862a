"""Queues: their settings are checked, a change shows at once, and nobody deletes work that is not done."""

from datetime import timedelta
from typing import Any

import apsw
import pytest

from taskyard.core.actor import ROLES, Actor
from taskyard.core.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from taskyard.core.outcome import Done
from taskyard.core.queue import Kind, QueueSettings, RateLimit
from taskyard.core.task import State
from taskyard.service.queues import MAX_FORM_BYTES
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.sqlite.engine import _text


@pytest.fixture
def queues(yard):
    return yard.services.queues


def change(yard, name: str, **changes: Any):
    return yard.write(yard.services.queues.change, yard.actor, name, changes)


def heard(yard, prefix: str) -> list[bool]:
    """Return a list that grows with each news of *prefix*."""
    news: list[bool] = []
    yard.store.news.subscribe(prefix, lambda: news.append(True))
    return news


def member_of(yard, role: str) -> Actor:
    return Actor(organisation=yard.organisation, identity="user:9", permissions=ROLES[role])


def test_a_queue_is_what_it_was_made_with(yard, queues):
    settings = QueueSettings(
        kind=Kind.HUMAN,
        title="Cats and dogs",
        concurrency=3,
        rate=RateLimit(count=10, period=timedelta(minutes=1)),
        lease=timedelta(hours=1),
        max_failures=2,
        retention=timedelta(days=7),
        form={"type": "object"},
        settings={"colour": "green"},
    )
    made = yard.write(queues.create, yard.actor, "pets", settings)
    assert made.settings == settings
    assert yard.read(queues.get, yard.actor, "pets") == made
    assert yard.events("pets") == ["queue.created"]


def test_two_queues_cannot_have_one_name(yard, queues):
    yard.write(queues.create, yard.actor, "pets")
    with pytest.raises(Conflict, match="pets"):
        yard.write(queues.create, yard.actor, "pets")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"kind": "robot"}, "/kind"),
        ({"title": "x" * 501}, "/title"),
        ({"paused": "yes"}, "/paused"),
        ({"concurrency": 0}, "/concurrency"),
        ({"concurrency": True}, "/concurrency"),
        ({"rate": 5}, "/rate"),
        ({"rate": RateLimit(count=0, period=timedelta(seconds=1))}, "/rate/count"),
        ({"rate": RateLimit(count=1, period=timedelta(0))}, "/rate/period"),
        ({"lease": timedelta(0)}, "/lease"),
        ({"lease": 5}, "/lease"),
        ({"max_failures": 0}, "/max_failures"),
        ({"retention": timedelta(seconds=-1)}, "/retention"),
        ({"form": []}, "/form"),
        ({"form": {"type": "strange"}}, "/form/type"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_where_it_stands(yard, queues, wrong, pointer):
    yard.write(queues.create, yard.actor, "pets")
    with pytest.raises(Invalid) as refusal:
        change(yard, "pets", **wrong)
    assert [fault.pointer for fault in refusal.value.faults] == [pointer]
    with pytest.raises(Invalid):
        yard.write(queues.create, yard.actor, "other", QueueSettings(**wrong))


def test_every_fault_of_a_queue_is_told_at_once(yard, queues):
    with pytest.raises(Invalid) as refusal:
        yard.write(queues.create, yard.actor, "no name", QueueSettings(concurrency=0, max_failures=0))
    assert {fault.pointer for fault in refusal.value.faults} == {"/name", "/concurrency", "/max_failures"}


def test_what_a_queue_does_not_have_cannot_be_set(yard, queues):
    yard.write(queues.create, yard.actor, "pets")
    with pytest.raises(Invalid) as refusal:
        change(yard, "pets", colour="green")
    assert refusal.value.faults[0].pointer == "/colour"


def test_a_form_has_a_largest_size(yard, queues):
    with pytest.raises(TooLarge):
        yard.write(
            queues.create, yard.actor, "pets", QueueSettings(form={"title": "x" * (MAX_FORM_BYTES + 1)})
        )


def test_a_change_leaves_the_rest_as_it_was(yard, queues):
    yard.write(queues.create, yard.actor, "pets", QueueSettings(concurrency=3, title="Pets"))
    change(yard, "pets", title="Cats")
    changed = change(yard, "pets", concurrency=None)
    assert changed.settings == QueueSettings(title="Cats")
    assert yard.events("pets") == ["queue.created", "queue.changed", "queue.changed"]


def test_a_change_of_nothing_is_no_event(yard, queues):
    yard.write(queues.create, yard.actor, "pets")
    change(yard, "pets", paused=False)
    assert yard.events("pets") == ["queue.created"]


def test_a_new_default_counts_for_the_next_task(yard, queues):
    assert yard.submit(queue="pets").max_failures == 5
    change(yard, "pets", max_failures=2)
    assert yard.submit(queue="pets").max_failures == 2


def test_nothing_of_a_paused_queue_starts_until_it_is_resumed(yard, queues):
    yard.submit()
    worker = yard.worker()
    yard.write(queues.pause, yard.actor, "default")
    assert worker.claim() == []
    yard.write(queues.resume, yard.actor, "default")
    assert len(worker.claim()) == 1
    assert yard.events("default") == ["queue.created", "queue.paused", "queue.resumed"]


def test_who_waits_for_work_hears_of_a_resume_and_of_a_limit_that_was_raised(yard, queues):
    yard.write(queues.create, yard.actor, "pets", QueueSettings(paused=True, concurrency=1))
    news = heard(yard, f"ready:{yard.organisation}:pets")
    yard.write(queues.resume, yard.actor, "pets")
    assert len(news) == 1
    change(yard, "pets", concurrency=5)
    assert len(news) == 2


def test_a_queue_tells_how_many_open_tasks_it_has_in_each_state(yard, queues):
    yard.submit()
    yard.submit()
    yard.worker().claim()
    yard.submit(run_at=yard.clock.now + timedelta(hours=1))
    yard.submit(concurrency_key="k")
    yard.submit(concurrency_key="k")
    [view] = yard.read(queues.all, yard.actor)
    assert view.queue.name == "default"
    assert view.counts == {
        State.READY: 2,
        State.RUNNING: 1,
        State.SCHEDULED: 1,
        State.SUSPENDED: 1,
    }
    assert yard.read(queues.view, yard.actor, "default") == view


def test_counting_a_queue_reads_no_other(tmp_path, clock):
    database = SqliteDatabase(tmp_path / "plan.db", clock)
    database.migrate()
    connection = apsw.Connection(str(database.path))
    values = {"organisation": 1, "queue": "q", "most": 5}
    plan = connection.execute("EXPLAIN QUERY PLAN " + _text("count_states"), values).fetchall()
    looks = [row[3] for row in plan if "tasks" in row[3]]
    assert len(looks) == 4
    # The organisation is an expression in the index of what is ready.
    assert all("=? AND queue=?" in look for look in looks)


def test_a_queue_with_open_tasks_is_not_deleted(yard, queues):
    yard.submit()
    with pytest.raises(Conflict, match="ready") as refusal:
        yard.write(queues.delete, yard.actor, "default")
    assert refusal.value.code == "has_open_tasks"


def test_a_deleted_queue_is_gone_and_its_ended_tasks_are_not(yard, queues):
    yard.submit()
    [task] = yard.worker().claim()
    yard.settle(task, Done())
    yard.write(queues.delete, yard.actor, "default")
    with pytest.raises(NotFound):
        yard.read(queues.get, yard.actor, "default")
    assert yard.get(task).state is State.SUCCEEDED


def test_another_organisation_has_queues_of_its_own(yard, queues):
    yard.write(queues.create, yard.actor, "pets")
    other = yard.other_organisation()
    assert yard.read(queues.all, other) == []
    with pytest.raises(NotFound):
        yard.read(queues.get, other, "pets")
    for move in (queues.pause, queues.resume, queues.delete):
        with pytest.raises(NotFound):
            yard.write(move, other, "pets")
    with pytest.raises(NotFound):
        yard.write(queues.change, other, "pets", {"title": "mine"})
    assert yard.write(queues.create, other, "pets").organisation == other.organisation


def test_only_who_may_manage_makes_changes_and_deletes_queues(yard, queues):
    yard.write(queues.create, yard.actor, "pets")
    member = member_of(yard, "member")
    for refused in (
        lambda r: queues.create(r, member, "mine"),
        lambda r: queues.change(r, member, "pets", {"title": "mine"}),
        lambda r: queues.delete(r, member, "pets"),
        lambda r: queues.pause(r, member, "pets"),
        lambda r: queues.resume(r, member, "pets"),
    ):
        with pytest.raises(Forbidden):
            yard.store.write(refused)
    assert yard.read(queues.get, member, "pets").name == "pets"
    nobody = Actor(organisation=yard.organisation, identity="key:x", permissions=frozenset())
    for look in (queues.all, lambda r, a: queues.get(r, a, "pets")):
        with pytest.raises(Forbidden):
            yard.read(look, nobody)
