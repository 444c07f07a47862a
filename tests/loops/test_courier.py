"""The courier, on a real store and with real receivers: at least once, under one id, nobody delayed by another."""

import json
import threading
from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from taskyard.core.hook import DeliveryState, NewHook
from taskyard.loops.courier import LONGEST, Courier
from taskyard.loops.guard import Guard, networks
from taskyard.loops.post import Post
from taskyard.loops.supervisor import server_loops
from taskyard.service.hooks import standard
from taskyard.store.store import Store
from tests.receiver import receiving, say

#: No test waits this long unless it fails.
LONG = 30


def courier_of(yard, store=None, *, timeout=LONG, **named):
    post = Post(Guard(networks(["127.0.0.0/8"])), agent="Taskyard/test", timeout=timedelta(seconds=timeout))
    return Courier(
        store or yard.store,
        yard.services.hooks,
        post,
        lambda _: standard,
        close_post=post.close,
        timeout=timedelta(seconds=timeout),
        **named,
    )


@pytest.fixture
def start(yard, other, clock):
    """Starts couriers beside the other loops of a server; they end with the test."""
    running = []

    def begin(store=None, **named):
        courier = courier_of(yard, store, **named)
        loops = server_loops(
            store or yard.store, yard.services, now=clock, jitter=lambda: 0.0, courier=courier
        )
        loops.start()
        running.append(loops)
        return loops

    yield begin
    for loops in running:
        assert loops.stop()


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def other(database):
    """The store of another process."""
    store = Store(database)
    yield store
    store.close()


def hook(yard, url, *events, **named):
    new = NewHook(url=url, events=events or ("task.submitted",), **named)
    return yard.write(yard.services.hooks.create, yard.actor, new)


def until(yard, made, count, state=DeliveryState.DELIVERED):
    """Wait, on the news of the store and now and then without, until so many deliveries are in *state*; return them."""
    news = threading.Event()
    end = yard.store.news.subscribe("", news.set)
    try:
        for _ in range(LONG * 20):
            news.clear()
            found = yard.read(
                yard.services.hooks.deliveries, yard.actor, made.hook.id, state=state, limit=1000
            )
            if len(found) >= count:
                return found
            news.wait(0.05)  # what was settled is told to nobody
        raise AssertionError(yard.read(yard.services.hooks.deliveries, yard.actor, made.hook.id))
    finally:
        end()


def until_tried(yard, made, status):
    for _ in range(LONG * 20):
        [delivery] = yard.read(yard.services.hooks.deliveries, yard.actor, made.hook.id)
        if delivery.took is not None and delivery.status == status:
            return delivery
        threading.Event().wait(0.05)
    raise AssertionError(delivery)


def test_an_event_arrives_signed_and_told_as_the_feed_tells_it(yard, receiver, start, monkeypatch):
    made = hook(yard, receiver.url, "task.*", queue="mail")
    start()
    task = yard.submit(queue="mail", labels={"a": "b"})

    [got] = receiver.wait(1)

    told = json.loads(got.body)
    assert told == {
        "type": "task.submitted",
        "timestamp": "2026-03-01T12:00:00.000000Z",
        "data": {"subject": task.id, "queue": "mail", "type": "resize", "data": {"state": "ready"}},
    }
    [delivery] = until(yard, made, 1)
    assert (got.headers["webhook-id"], delivery.attempts, delivery.status) == (delivery.id, 1, 204)
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _, at: yard.clock.now)
    assert Webhook(made.secret).verify(got.body, dict(got.headers)) == told


def test_what_fails_arrives_later_under_the_same_id_and_is_signed_anew(yard, receiver, start, clock):
    receiver.answer = lambda number, request: say(request, 503 if number == 1 else 200, b"busy")
    made = hook(yard, receiver.url)
    loops = start()
    yard.submit()
    failed = until_tried(yard, made, 503)
    assert (failed.state, failed.error) == (DeliveryState.PENDING, "503 Service Unavailable: busy")

    clock.forward(seconds=6)
    for loop in loops._loops:
        loop.wake()

    first, second = receiver.wait(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 6
    [delivery] = until(yard, made, 1)
    assert delivery.attempts == 2


def test_one_who_hangs_delays_nobody_else(yard, receiver, start):
    with receiving() as slow:
        slow.answer = lambda _, request: slow.released.wait(LONG)
        hook(yard, slow.url)
        quick = hook(yard, receiver.url)
        start(most=12, most_of_one=8)
        for _ in range(30):
            yard.submit()

        assert len(until(yard, quick, 30)) == 30
        assert len(slow.received) <= 8
        slow.released.set()


def test_one_who_has_failed_gets_one_at_a_time_until_it_answers(yard, receiver, start, clock):
    receiver.answer = lambda number, request: say(request, 500)
    made = hook(yard, receiver.url)
    courier = courier_of(yard)
    yard.submit()
    courier.tick()
    until_tried(yard, made, 500)
    for _ in range(5):
        yard.submit()

    courier.tick()
    try:
        [wanted] = [courier._under_way.total()]
        assert wanted <= 1
    finally:
        courier.close()


def test_of_two_nodes_one_sends(yard, receiver, other, start):
    hook(yard, receiver.url)
    for _ in range(40):
        yard.submit()
    start(most_of_one=3)
    start(other, most_of_one=3)

    receiver.wait(40)

    ids = [each.headers["webhook-id"] for each in receiver.received]
    assert len(ids) == len(set(ids)) == 40


def test_what_is_under_way_when_the_server_stops_is_given_back(yard, receiver, clock, monkeypatch):
    monkeypatch.setattr("taskyard.loops.courier.GRACE", timedelta(milliseconds=50))
    receiver.answer = lambda _, request: receiver.released.wait(LONG)
    made = hook(yard, receiver.url)
    loops = server_loops(yard.store, yard.services, now=clock, jitter=lambda: 0.0, courier=courier_of(yard))
    yard.submit()
    loops.start()
    receiver.wait(1)

    assert loops.stop()

    [delivery] = yard.read(yard.services.hooks.deliveries, yard.actor, made.hook.id)
    assert (delivery.state, delivery.attempts, delivery.next_at) == (DeliveryState.PENDING, 0, clock())


def test_what_waits_goes_on_when_a_hook_is_enabled_again(yard, receiver, start):
    made = hook(yard, receiver.url)
    yard.submit()
    yard.write(yard.services.hooks.change, yard.actor, made.hook.id, {"enabled": False})
    start()
    assert receiver.received == []

    yard.write(yard.services.hooks.change, yard.actor, made.hook.id, {"enabled": True})

    receiver.wait(1)


def test_a_test_and_a_delivery_that_is_sent_again_arrive_at_once(yard, receiver, start):
    made = hook(yard, receiver.url)
    start()
    sent = yard.write(yard.services.hooks.test, yard.actor, made.hook.id)
    [got] = receiver.wait(1)
    assert json.loads(got.body)["type"] == "hook.test"
    until(yard, made, 1)

    yard.write(yard.services.hooks.resend, yard.actor, made.hook.id, sent.id)

    _, again = receiver.wait(2)
    assert again.headers["webhook-id"] == sent.id


def test_a_private_address_is_refused_and_the_delivery_says_so(yard, receiver, clock):
    made = hook(yard, receiver.url)
    yard.submit()
    post = Post(Guard(), agent="x")
    courier = Courier(yard.store, yard.services.hooks, post, lambda _: standard, close_post=post.close)
    courier.tick()
    refused = until_tried(yard, made, None)
    courier.close()

    assert "127.0.0.1, which is not a public address" in refused.error
    assert receiver.received == []


def test_with_nothing_to_do_it_asks_once_and_sleeps(yard, start, clock):
    hook(yard, "http://127.0.0.1:9/")
    asked = []
    courier = courier_of(yard)
    read = yard.store.read
    courier._store = type("Counting", (), {"read": lambda _, work: (asked.append(1), read(work))[1]})()

    assert courier.tick() == LONGEST
    assert len(asked) == 1
    courier.close()
