"""Hooks: who is told of what, in the very transaction in which it happens; and how often it is tried."""

from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from taskyard.core.actor import Permission
from taskyard.core.errors import Conflict, Forbidden, Invalid, NotFound
from taskyard.core.hook import MOST_ATTEMPTS, RETRIES, Answer, DeliveryState, NewHook
from taskyard.core.outcome import Done
from taskyard.core.queue import QueueSettings
from taskyard.service.hooks import Sent, standard
from taskyard.service.janitor import Keep, expired_tasks, removals

URL = "https://receiver.example/hook"


def create(yard, *events, actor=None, **named):
    new = NewHook(url=URL, events=events or ("*",), **named)
    return yard.write(yard.services.hooks.create, actor or yard.actor, new)


def recorded(yard, hook, **named):
    found = yard.read(yard.services.hooks.deliveries, yard.actor, hook.id, **named)
    return [each.kind for each in reversed(found)]


def claim(yard, hook, limit=10):
    return yard.write(yard.services.hooks.claim, {hook.number: limit}, timedelta(seconds=30))


def answer(yard, delivery, status, **named):
    return yard.write(yard.services.hooks.settle, [Sent(delivery, Answer(status=status, **named))])


def only(yard, hook):
    [delivery] = yard.read(yard.services.hooks.deliveries, yard.actor, hook.id)
    return delivery


def test_a_hook_is_told_of_what_it_asked_for_and_of_nothing_else(yard):
    every, ends, mail, other = (
        create(yard, "*").hook,
        create(yard, "task.succeeded", "task.failed").hook,
        create(yard, "task.*", queue="mail").hook,
        create(yard, "task.*", type="nothing").hook,
    )
    yard.submit(queue="mail")
    yard.submit()
    worker = yard.worker("resize")
    [task] = worker.claim()
    yard.settle(task, Done())

    assert recorded(yard, ends) == ["task.succeeded"]
    assert recorded(yard, mail) == ["task.submitted"]
    assert recorded(yard, other) == []
    kinds = recorded(yard, every)
    assert kinds.count("task.submitted") == 2
    assert "task.succeeded" in kinds
    assert not [kind for kind in kinds if kind.startswith("hook.")]


def test_hooks_of_another_organisation_and_hooks_that_are_disabled_are_told_nothing(yard):
    stranger = yard.other_organisation()
    theirs = create(yard, "*", actor=stranger).hook
    off = create(yard, "*", enabled=False).hook

    yard.submit()

    assert yard.read(yard.services.hooks.deliveries, stranger, theirs.id) == []
    assert recorded(yard, off) == []


def test_what_is_undone_is_told_to_nobody(yard):
    hook = create(yard, "*").hook

    def fails(records):
        yard.services.queues.create(records, yard.actor, "mail")
        raise Conflict("no")

    with pytest.raises(Conflict):
        yard.store.write(fails)

    assert recorded(yard, hook) == []


def test_a_delivery_is_one_senders_until_its_lease_runs_out(yard, clock):
    hook = create(yard, "task.submitted").hook
    yard.submit()

    [first] = claim(yard, hook)
    assert claim(yard, hook) == []
    clock.forward(seconds=31)
    [second] = claim(yard, hook)

    assert (second.id, second.attempts) == (first.id, 2)
    assert answer(yard, first, 200) == [False]
    assert answer(yard, second, 204) == [True]
    assert only(yard, hook).state is DeliveryState.DELIVERED
    assert only(yard, hook).status == 204


def test_what_fails_is_tried_again_later_and_later_and_then_given_up_visibly(yard, clock):
    hook = create(yard, "task.submitted").hook
    yard.submit()
    for wait in RETRIES:
        [delivery] = claim(yard, hook)
        answer(yard, delivery, 500, error="500: broken")
        assert only(yard, hook).next_at == clock() + wait
        clock.now += wait - timedelta(seconds=1)
        assert claim(yard, hook) == []
        clock.forward(seconds=1)
    [delivery] = claim(yard, hook)
    answer(yard, delivery, None, error="no answer")

    lost = only(yard, hook)
    assert (lost.state, lost.attempts, lost.status) == (DeliveryState.GIVEN_UP, MOST_ATTEMPTS, None)
    assert lost.error == "no answer"
    assert yard.events(hook.id)[-1] == "hook.gave_up"
    assert yard.read(yard.services.hooks.due)[1] == []


def test_the_wait_is_spread_and_no_shorter_than_the_receiver_asks_for(yard, clock):
    from taskyard.core.hook import wait_after

    busy = Answer(status=503, retry_after=timedelta(minutes=10))
    assert wait_after(1, busy, jitter=lambda: 0.0) == timedelta(minutes=10)
    assert wait_after(1, Answer(status=500), jitter=lambda: 0.5) == timedelta(seconds=5.25)
    forever = Answer(status=503, retry_after=timedelta(days=400))
    assert wait_after(1, forever, jitter=lambda: 0.0) == timedelta(hours=24)
    assert wait_after(MOST_ATTEMPTS, busy, jitter=lambda: 0.0) is None


def test_what_was_given_up_may_be_sent_again_under_its_id(yard, clock):
    hook = create(yard, "task.submitted").hook
    yard.submit()
    [delivery] = claim(yard, hook)
    answer(yard, delivery, 200)

    again = yard.write(yard.services.hooks.resend, yard.actor, hook.id, delivery.id)

    assert (again.state, again.attempts) == (DeliveryState.PENDING, 0)
    [sent] = claim(yard, hook)
    assert (sent.id, sent.attempts) == (delivery.id, 1)


def test_a_receiver_that_is_gone_is_left_in_peace(yard):
    hook = create(yard, "task.submitted").hook
    yard.submit()
    yard.submit()
    first, _second = claim(yard, hook)
    answer(yard, first, 410)

    after = yard.read(yard.services.hooks.get, yard.actor, hook.id)
    assert (after.enabled, "410" in after.reason) == (False, True)
    assert yard.read(yard.services.hooks.due)[1] == []
    with pytest.raises(Conflict, match="disabled"):
        yard.write(yard.services.hooks.resend, yard.actor, hook.id, first.id)

    on = yard.write(yard.services.hooks.change, yard.actor, hook.id, {"enabled": True})
    assert (on.enabled, on.reason) == (True, None)
    assert len(yard.read(yard.services.hooks.due)[1]) == 1


def test_what_was_claimed_and_not_sent_is_due_at_once_and_spends_no_attempt(yard):
    hook = create(yard, "task.submitted").hook
    yard.submit()
    claimed = claim(yard, hook)

    assert yard.write(yard.services.hooks.give_back, claimed) == 1
    [again] = claim(yard, hook)
    assert again.attempts == 1


def test_the_secret_is_told_once_and_kept_sealed(yard):
    made = create(yard, "*")

    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(
        yard.read(lambda r: r.connection.rows("get_hook", organisation=yard.organisation, id=made.hook.id))
    )


def test_a_letter_is_signed_with_both_secrets_for_a_day_after_they_changed(yard, clock):
    made = create(yard, "task.submitted")
    rotated = yard.write(yard.services.hooks.rotate, yard.actor, made.hook.id)
    yard.submit()
    claimed = claim(yard, made.hook)

    def verifies(letter, secret):
        timestamp = clock()
        expected = Webhook(secret).sign(letter.headers["webhook-id"], timestamp, letter.body.decode())
        return expected in letter.headers["webhook-signature"].split(" ")

    [letter] = yard.read(yard.services.hooks.letters, claimed, lambda _: standard)
    assert verifies(letter, made.secret)
    assert verifies(letter, rotated.secret)
    clock.forward(hours=24)
    [letter] = yard.read(yard.services.hooks.letters, claimed, lambda _: standard)
    assert not verifies(letter, made.secret)
    assert verifies(letter, rotated.secret)


def test_a_letter_that_cannot_be_written_holds_up_no_other(yard):
    hook = create(yard, "task.submitted").hook
    yard.submit()
    yard.submit()
    calls = []

    def wire(records, hook, delivery, secrets):
        calls.append(delivery)
        if len(calls) == 1:
            raise RuntimeError("no words")
        return standard(records, hook, delivery, secrets)

    bad, good = yard.read(yard.services.hooks.letters, claim(yard, hook), lambda _: wire)

    assert isinstance(bad, RuntimeError)
    assert good.url == URL


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://a.example/x"},
        {"url": "nope"},
        {"url": "https://ana:secret@a.example/"},
        {"url": "https://a.example/\nx"},
        {"url": "https://[::1/x"},
        {"url": "http://a.example:99999/"},
        {"events": ()},
        {"events": ("task succeeded",)},
        {"queue": "no such name!"},
        {"enabled": "no"},
    ],
)
def test_a_hook_that_cannot_be_is_refused_when_it_is_made_and_when_it_is_changed(yard, wrong):
    with pytest.raises(Invalid):
        yard.write(yard.services.hooks.create, yard.actor, NewHook(**{"url": URL, **wrong}))
    hook = create(yard).hook
    with pytest.raises(Invalid):
        yard.write(yard.services.hooks.change, yard.actor, hook.id, wrong)
    with pytest.raises(Invalid, match="wire"):
        yard.write(yard.services.hooks.change, yard.actor, hook.id, {"wire": "x"})


def test_hooks_are_seen_and_changed_by_those_who_manage_in_their_own_organisation_alone(yard):
    from dataclasses import replace

    hooks, hook = yard.services.hooks, create(yard, "task.submitted").hook
    yard.submit()
    delivery = only(yard, hook)
    moves = (
        (hooks.get, ()),
        (hooks.change, ({"enabled": False},)),
        (hooks.rotate, ()),
        (hooks.test, ()),
        (hooks.deliveries, ()),
        (hooks.delivery, (delivery.id,)),
        (hooks.resend, (delivery.id,)),
        (hooks.delete, ()),
    )
    stranger = yard.other_organisation()
    reader = replace(yard.actor, permissions=frozenset(Permission) - {Permission.MANAGE})
    for move, rest in moves:
        with pytest.raises(NotFound):
            yard.write(move, stranger, hook.id, *rest)
        with pytest.raises(Forbidden):
            yard.write(move, reader, hook.id, *rest)
    assert yard.read(hooks.all, stranger) == []


def test_a_hook_that_is_deleted_in_the_same_moment_fails_no_event(yard):
    hook = create(yard, "*").hook

    def both(records):
        yard.services.queues.create(records, yard.actor, "mail", QueueSettings())
        yard.services.hooks.tell(records, hook, kind="hook.test", subject="x")
        yard.services.hooks.delete(records, yard.actor, hook.id)

    yard.store.write(both)

    assert yard.read(yard.services.hooks.due)[1] == []


def test_a_task_that_somebody_is_still_to_be_told_of_is_kept(yard, clock):
    hook = create(yard, "task.succeeded").hook
    yard.submit()
    [task] = yard.worker("resize").claim()
    yard.settle(task, Done())
    clock.forward(days=31)

    def expired():
        return yard.read(lambda r: expired_tasks(r, r.queues.get(yard.organisation, "default"), 10))

    assert expired() == []
    [delivery] = claim(yard, hook)
    answer(yard, delivery, 200)
    assert expired() == [task.number]


def test_the_janitor_forgets_old_deliveries(yard, clock):
    hook = create(yard, "task.submitted").hook
    yard.submit()
    clock.forward(days=29)
    yard.submit()
    clock.forward(days=2)

    [removed] = [count for each in removals(Keep()) if (count := yard.write(each, 10)) and count == 1][:1]

    assert removed == 1
    assert len(yard.read(yard.services.hooks.deliveries, yard.actor, hook.id)) == 1


def test_what_two_organisations_do_in_one_commit_is_told_to_each_of_its_own(yard):
    stranger = yard.other_organisation()
    mine, theirs = create(yard, "*").hook, create(yard, "*", actor=stranger).hook

    def both(records):
        yard.services.queues.create(records, yard.actor, "mine")
        yard.services.queues.create(records, stranger, "theirs")

    yard.store.write(both)

    assert [each.subject for each in yard.read(yard.services.hooks.deliveries, yard.actor, mine.id)] == [
        "mine"
    ]
    [told] = yard.read(yard.services.hooks.deliveries, stranger, theirs.id)
    assert told.subject == "theirs"
