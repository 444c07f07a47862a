"""The feed: read by cursor, it misses nothing, shows nobody else's, and says so when it has forgotten something."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskyard.core.errors import Conflict, Forbidden, Invalid, NotFound
from taskyard.core.event import Cursor
from taskyard.core.outcome import Done
from taskyard.service.feed import CURSOR_EXPIRED


def read(yard, after=None, actor=None, **named):
    return yard.read(yard.services.feed.read, actor or yard.actor, after, **named)


def forget_all(yard):
    yard.clock.forward(days=1)
    while yard.write(lambda records: records.events.delete_before(records.now, 100)):
        pass


def test_a_reader_who_goes_on_from_each_cursor_sees_every_event_once(yard):
    for _ in range(5):
        yard.submit()
    seen, page = [], read(yard, limit=2)
    while page.events:
        seen += page.events
        page = read(yard, page.next, limit=2)
    assert [event.kind for event in seen] == ["queue.created", *["task.submitted"] * 5]
    assert sorted({event.cursor for event in seen}) == [event.cursor for event in seen]


def test_what_is_still_to_come_is_read_from_the_end(yard):
    yard.submit()
    end = yard.read(yard.services.feed.end, yard.actor)
    assert read(yard, end).events == []
    task = yard.submit()
    [event] = read(yard, end).events
    assert event.subject == task.id


def test_a_reader_sees_only_what_they_ask_for(yard):
    yard.submit("resize", queue="images")
    task = yard.submit("send", queue="mail")
    assert {event.type for event in read(yard, type="send").events} == {"send"}
    assert {event.queue for event in read(yard, queue="mail").events} == {"mail"}
    kinds = ["task.submitted"]
    assert {event.kind for event in read(yard, kinds=kinds).events} == {"task.submitted"}
    [only] = read(yard, kinds=kinds, queue="mail").events
    assert only.subject == task.id


def test_the_cursor_passes_what_was_not_asked_for(yard):
    for _ in range(10):
        yard.submit()
    page = read(yard, type="send")
    assert page.events == []
    assert page.next == yard.read(yard.services.feed.end, yard.actor)
    task = yard.submit("send")
    assert [event.subject for event in read(yard, page.next, type="send").events] == [task.id]


def test_a_full_page_goes_on_where_it_stopped(yard):
    for _ in range(3):
        yard.submit("send")
    page = read(yard, type="send", limit=2)
    assert page.next == page.events[-1].cursor
    assert len(read(yard, page.next, type="send", limit=2).events) == 1


def test_another_organisations_events_are_not_seen(yard):
    task = yard.submit()
    other = yard.other_organisation()
    assert read(yard, actor=other).events == []
    with pytest.raises(NotFound):
        yard.read(yard.services.feed.of_task, other, task.id)


def test_a_task_has_a_history_of_its_own(yard):
    yard.submit()
    task = yard.submit()
    for held in yard.worker().claim(2):
        yard.settle(held, Done())
    events = yard.read(yard.services.feed.of_task, yard.actor, task.id)
    assert [event.kind for event in events] == ["task.submitted", "task.started", "task.succeeded"]
    later = yard.read(yard.services.feed.of_task, yard.actor, task.id, events[0].cursor)
    assert later == events[1:]
    assert yard.read(yard.services.feed.of_task, yard.actor, task.id, limit=1) == events[:1]


def test_a_cursor_before_what_was_removed_has_expired(yard):
    yard.submit()
    first = read(yard, limit=1).next
    yard.submit()
    forget_all(yard)
    yard.submit()
    for old in (Cursor(), first):
        with pytest.raises(Conflict) as refusal:
            read(yard, old)
        assert refusal.value.code == CURSOR_EXPIRED
    assert [event.kind for event in read(yard).events] == ["task.submitted"]


def test_a_reader_who_had_come_to_the_end_missed_nothing_when_all_was_removed(yard):
    yard.submit()
    end = yard.read(yard.services.feed.end, yard.actor)
    forget_all(yard)
    assert yard.read(yard.services.feed.end, yard.actor) == end
    assert read(yard, end).events == []
    task = yard.submit()
    assert [event.subject for event in read(yard, end).events] == [task.id]


def test_a_cursor_of_another_yard_is_told_from_ours(yard):
    yard.submit()
    end = yard.read(yard.services.feed.end, yard.actor)
    with pytest.raises(Conflict) as refusal:
        read(yard, replace(end, tx=end.tx + 1_000_000, seq=end.seq + 1_000_000))
    assert refusal.value.code == CURSOR_EXPIRED


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_page_has_a_size_that_can_be(yard, limit):
    task = yard.submit()
    with pytest.raises(Invalid):
        read(yard, limit=limit)
    with pytest.raises(Invalid):
        yard.read(yard.services.feed.of_task, yard.actor, task.id, limit=limit)


def test_who_may_not_read_reads_nothing(yard):
    task = yard.submit()
    nobody = replace(yard.actor, permissions=frozenset())
    feed = yard.services.feed
    for refused in (feed.read, feed.end, lambda r, a: feed.of_task(r, a, task.id)):
        with pytest.raises(Forbidden):
            yard.read(refused, nobody)


def test_only_what_is_old_enough_is_removed(yard):
    yard.submit()
    yard.clock.forward(days=2)
    yard.submit()
    before = yard.clock.now - timedelta(days=1)
    assert yard.write(lambda records: records.events.delete_before(before, 100)) == 2
    assert [event.kind for event in read(yard).events] == ["task.submitted"]
