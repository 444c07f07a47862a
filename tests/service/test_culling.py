"""Culling: what is old is removed by tasks that recur and can be seen."""

from datetime import timedelta

import pytest

from taskyard.core.outcome import Done
from taskyard.core.task import State
from taskyard.loops.culler import BATCH, Culler
from taskyard.service.culling import EVENTS, HISTORY, MADE, QUEUE
from taskyard.store.tasks import TaskFilter


@pytest.fixture
def culling(yard):
    return yard.services.culling


def established(yard):
    yard.write(yard.services.culling.establish, yard.organisation)
    return {each.name: each for each in yard.read(yard.services.schedules.all, yard.actor)}


def runs(yard, schedule):
    filter = TaskFilter(schedule=schedule.id)
    return yard.read(yard.services.tasks.search, yard.actor, filter, limit=10)


def test_an_organisation_has_its_two_tasks_once_at_their_hours(yard, culling):
    schedules = established(yard)

    assert schedules.keys() == {EVENTS, HISTORY}
    assert [schedules[name].next_at.isoformat() for name in (EVENTS, HISTORY)] == [
        "2026-03-01T13:00:00+00:00",
        "2026-03-02T01:00:00+00:00",
    ]
    assert established(yard) == schedules
    assert yard.read(culling.is_established, yard.organisation)


def test_who_has_deleted_one_does_not_get_it_again(yard):
    schedules = established(yard)
    yard.write(yard.services.schedules.delete, yard.actor, schedules[EVENTS].id)

    assert established(yard).keys() == {HISTORY}


def test_a_schedule_that_has_the_name_is_left_alone(yard):
    first = established(yard)
    yard.write(lambda r: r.accounts.update_organisation(yard.organisation, "Default", {"other": 1}))

    assert established(yard) == first
    settings = yard.read(lambda r: r.accounts.organisation(yard.organisation)).settings
    assert settings == {"other": 1, MADE: [EVENTS, HISTORY]}


def test_the_culler_removes_what_is_over_of_each_organisation_and_leaves(yard, clock, culling):
    other = yard.other_organisation()
    old = []
    for actor in (yard.actor, other):
        yard.write(culling.establish, actor.organisation)
        for _ in range(2):
            task = yard.submit(actor=actor)
            yard.write(yard.services.tasks.cancel_one, actor, task.id)
            old.append((actor, task))
    clock.forward(days=31)
    fresh = yard.submit()
    yard.write(yard.services.schedules.fire_due, 10)

    assert Culler(yard.store, culling).tick() > timedelta(0)

    for actor, task in old:
        assert yard.read(lambda r, a=actor, t=task: r.tasks.get(a.organisation, t.id)) is None
    assert yard.get(fresh).state is State.READY
    for schedule in established(yard).values():
        assert [run.state for run in runs(yard, schedule)] == [State.SUCCEEDED]
    workers = yard.read(lambda r: r.workers.all(yard.organisation))
    assert {worker.state for worker in workers} == {"gone"}


def test_events_that_are_older_than_the_feed_keeps_are_removed(yard, clock, culling):
    task = yard.submit()
    established(yard)
    clock.forward(days=31)
    yard.write(yard.services.schedules.fire_due, 10)

    Culler(yard.store, culling).tick()

    assert yard.events(task.id) == []


def test_a_culler_that_dies_leaves_its_task_to_the_next(yard, clock, culling):
    established(yard)
    clock.forward(days=1)
    yard.write(yard.services.schedules.fire_due, 10)
    begun = yard.write(culling.begin, yard.organisation)
    assert {task.type for task in begun} == {EVENTS, HISTORY}
    assert yard.read(culling.waiting) == []

    clock.forward(minutes=6)
    yard.reap()
    yard.write(culling.end, begun[0], Done(), "")
    assert yard.read(culling.waiting) == [yard.organisation]
    Culler(yard.store, culling).tick()

    for task in begun:
        assert yard.get(task).state is State.SUCCEEDED


def test_what_cannot_be_culled_fails_and_is_tried_again(yard, clock, culling, monkeypatch):
    schedules = established(yard)
    clock.forward(days=1)
    yard.write(yard.services.schedules.fire_due, 10)
    monkeypatch.setattr(type(culling), "cull", lambda *_: 1 / 0)

    Culler(yard.store, culling).tick()

    [run] = runs(yard, schedules[HISTORY])
    assert (run.state, run.failures, run.error.message) == (
        State.SCHEDULED,
        1,
        "ZeroDivisionError: division by zero",
    )


def test_in_a_queue_that_is_paused_nothing_is_culled(yard, clock, culling):
    established(yard)
    clock.forward(days=1)
    yard.write(yard.services.schedules.fire_due, 10)
    yard.write(yard.services.queues.pause, yard.actor, QUEUE)

    Culler(yard.store, culling).tick()

    assert yard.read(culling.waiting) == [yard.organisation]
    workers = yard.read(lambda r: r.workers.all(yard.organisation))
    assert {worker.state for worker in workers} == {"gone"}


def test_a_great_deal_is_removed_part_by_part(yard, clock, culling):
    established(yard)
    many = [yard.submit() for _ in range(BATCH + 1)]
    yard.write(yard.services.tasks.cancel, yard.actor, [task.id for task in many])
    clock.forward(days=31)
    yard.write(yard.services.schedules.fire_due, 10)

    Culler(yard.store, culling).tick()

    assert yard.read(lambda r: r.tasks.get_many(yard.organisation, [task.id for task in many])) == []
