"""The feed over HTTP: streams that are cut, fall behind, or outlive their key; and waiters that cost the store nothing."""

import asyncio
import threading
from contextlib import aclosing

import pytest

from taskyard.core.actor import Actor
from taskyard.core.errors import Unauthenticated
from taskyard.core.event import Cursor, Event
from taskyard.http.backend import Backend
from taskyard.http.feed import MOST_KEPT
from taskyard.http.stream import Beat, Choice, Reset, told
from taskyard.store.store import Store
from tests.conftest import new_id


class Counting(Store):
    """A store that counts how often it is read."""

    reads = 0

    def read_soon(self, work):
        self.reads += 1
        return super().read_soon(work)


class Held(Store):
    """A store whose next read, once ``hold`` is set, waits for ``go``."""

    def __init__(self, database):
        super().__init__(database)
        self.hold, self.held, self.go = threading.Event(), threading.Event(), threading.Event()

    def read_soon(self, work):
        if not self.hold.is_set():
            return super().read_soon(work)
        self.hold.clear()
        self.held.set()

        def later(records):
            self.go.wait(30)
            return work(records)

        return super().read_soon(later)


@pytest.fixture
def listen(yard):
    """Runs a story that is given a stream of what is told, after a cursor or from now on."""

    def run(story, after=None, *, may_still=lambda: asyncio.sleep(0), heartbeat=15.0, **chosen):
        async def listening():
            backend = Backend(store=yard.store, services=yard.services, new_id=new_id)
            choice = Choice(actor=yard.actor, **chosen)
            try:
                stream = told(backend, choice, after, may_still=may_still, heartbeat=heartbeat)
                async with aclosing(stream):
                    return await story(stream, backend)
            finally:
                await backend.close()

        return asyncio.run(listening())

    return run


async def take(stream, many):
    """Return the next *many* events of a stream, with the resets among them."""
    taken, events = [], 0
    while events < many:
        each = await anext(stream)
        if not isinstance(each, Beat):
            taken.append(each)
            events += isinstance(each, Event)
    return taken


def submitted(yard):
    return yard.read(lambda records: records.events.read(Cursor(), limit=10_000, kinds=["task.submitted"]))


def test_a_stream_from_a_cursor_tells_what_came_before_and_what_comes_then(listen, yard):
    before = [yard.submit().id for _ in range(3)]

    async def story(stream, _):
        early = await take(stream, 3)
        later = [(await asyncio.to_thread(yard.submit)).id for _ in range(2)]
        return early + await take(stream, 2), later

    heard, later = listen(story, Cursor(), kinds=("task.submitted",))

    assert [event.subject for event in heard] == before + later


def test_a_stream_without_a_cursor_tells_only_what_comes(listen, yard):
    yard.submit()

    async def story(stream, _):
        assert isinstance(await anext(stream), Beat)
        later = await asyncio.to_thread(yard.submit)
        return (await take(stream, 1))[0].subject == later.id

    assert listen(story, kinds=("task.submitted",))


def test_another_organisations_events_are_not_told(listen, yard):
    stranger = yard.other_organisation()

    async def story(stream, _):
        await anext(stream)
        await asyncio.to_thread(yard.submit, actor=stranger)
        mine = await asyncio.to_thread(yard.submit)
        return (await take(stream, 1))[0].subject == mine.id

    assert listen(story, kinds=("task.submitted",))


def test_who_listens_too_slowly_is_told_everything_from_the_store(listen, yard):
    many = MOST_KEPT + 200

    async def story(stream, backend):
        await anext(stream)
        for _ in range(many):
            await asyncio.to_thread(yard.submit)
        end = submitted(yard)[-1].cursor
        while backend.feed.position < end:  # all of it has been dispatched, to a listener who took none
            await asyncio.sleep(0)
        return await take(stream, many)

    heard = listen(story, kinds=("task.submitted",))

    assert heard == submitted(yard)


def test_a_cursor_of_another_yard_is_told_so_and_gets_everything(listen, yard):
    yard.submit()

    async def story(stream, _):
        return await take(stream, 1)

    reset, event = listen(story, Cursor(1 << 50, 1), kinds=("task.submitted",))

    assert isinstance(reset, Reset)
    assert [event] == submitted(yard)


def test_a_cursor_whose_events_were_removed_is_told_so(listen, yard, clock):
    yard.submit()
    old = submitted(yard)[0].cursor
    yard.submit()
    clock.forward(days=100)
    yard.write(lambda records: records.events.delete_before(records.now, 1000))
    kept = yard.submit()

    async def story(stream, _):
        return await take(stream, 1)

    reset, event = listen(story, old, kinds=("task.submitted",))

    assert isinstance(reset, Reset)
    assert event.subject == kept.id


def test_a_stream_ends_when_its_key_is_no_longer_good(listen):
    async def revoked():
        raise Unauthenticated("revoked")

    async def story(stream, _):
        await anext(stream)
        with pytest.raises(Unauthenticated):
            await anext(stream)
        return True

    assert listen(story, may_still=revoked, heartbeat=0.0)


def test_a_stream_ends_when_the_server_is_about_to_stop(listen):
    async def story(stream, backend):
        await anext(stream)
        backend.let_go()
        return [each async for each in stream]

    assert listen(story) == []


def test_those_who_wait_for_one_task_cost_nothing_while_others_change(database, clock):
    store = Counting(database)
    from taskyard.service.services import build_services
    from tests.conftest import Yard

    services = build_services(new_id, lambda: 0.0)
    organisation, _ = store.write(services.accounts.bootstrap)
    yard = Yard(store, services, clock, organisation.number)
    watched = yard.submit(queue="watched")

    async def story():
        backend = Backend(store=store, services=services, new_id=new_id)
        waiting = [
            asyncio.create_task(
                backend.feed.look_until(
                    lambda records: records.tasks.get(yard.organisation, watched.id),
                    lambda task: not task.is_open,
                    organisation=yard.organisation,
                    subject=watched.id,
                    seconds=30,
                )
            )
            for _ in range(50)
        ]
        while store.reads < 51:  # each has looked once, and the reader where the feed ends
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.to_thread(yard.submit)
        others = store.reads
        actor = Actor(organisation=yard.organisation, identity="user:1")
        await backend.write(services.tasks.cancel_one, actor, watched.id)
        seen = await asyncio.gather(*waiting)
        await backend.close()
        return others, seen

    others, seen = asyncio.run(story())
    store.close()

    assert others <= 51 + 20  # at most one look of the one reader for each of the twenty, however many wait
    assert {task.state for task in seen} == {"canceled"}


def test_who_wants_more_misses_nothing_of_what_was_read_for_a_choosy_listener(database, clock):
    store = Held(database)
    from taskyard.service.services import build_services
    from tests.conftest import Yard

    services = build_services(new_id, lambda: 0.0)
    organisation, _ = store.write(services.accounts.bootstrap)
    yard = Yard(store, services, clock, organisation.number)

    async def story():
        backend = Backend(store=store, services=services, new_id=new_id)
        actor, still = Actor(organisation=yard.organisation, identity="user:1"), lambda: asyncio.sleep(0)
        choosy = told(backend, Choice(actor=yard.actor, kinds=("queue.paused",)), None, may_still=still)
        curious = told(backend, Choice(actor=actor), None, may_still=still)
        async with aclosing(choosy), aclosing(curious):
            await anext(choosy)
            store.hold.set()
            first = await asyncio.to_thread(yard.submit)
            await asyncio.to_thread(
                store.held.wait, 30
            )  # the reader is about to read for the choosy one alone
            await anext(curious)
            second = await asyncio.to_thread(yard.submit)
            before = backend.feed.position
            store.go.set()
            while backend.feed.position == before:
                await asyncio.sleep(0)
            third = await asyncio.to_thread(yard.submit)
            heard = await take(curious, 1)
            while heard[-1].subject != third.id:
                heard += await take(curious, 1)
        await backend.close()
        return [event.subject for event in heard if event.kind == "task.submitted"], [first, second, third]

    heard, submitted = asyncio.run(story())
    store.close()

    assert heard == [task.id for task in submitted]
