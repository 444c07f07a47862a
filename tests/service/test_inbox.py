"""The inbox: people hold tasks as workers do, and what only people need stands beside that."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskyard.core.actor import ROLES, Permission
from taskyard.core.errors import Conflict, Forbidden, Invalid, LeaseLost, NotFound, TooLarge, WrongState
from taskyard.core.queue import Kind, QueueSettings
from taskyard.core.task import State
from taskyard.service.accounts import actor_of
from taskyard.service.inbox import Waiting

FORM = {
    "type": "object",
    "properties": {"species": {"enum": ["cat", "dog"]}, "legs": {"type": "integer"}},
    "required": ["species"],
}
HOUR = timedelta(hours=1)


@pytest.fixture
def inbox(yard):
    settings = QueueSettings(kind=Kind.HUMAN, lease=8 * HOUR, form=FORM)
    yard.write(yard.services.queues.create, yard.actor, "pets", settings)
    return yard.services.inbox


@pytest.fixture
def people(yard, inbox):
    """A manager who is an operator, and two members: Ana and Bo."""
    create = yard.services.accounts.create_user
    return {
        name: actor_of(yard.write(create, yard.actor, name, role=role))
        for name, role in (("manager", "operator"), ("ana", "member"), ("bo", "member"))
    }


@pytest.fixture
def ana(people):
    return people["ana"]


@pytest.fixture
def bo(people):
    return people["bo"]


def pet(yard, **named):
    return yard.submit("look", queue="pets", **named)


def last_event(yard, task):
    return yard.read(lambda records: records.events.of_subject(yard.organisation, task.id))[-1]


# -- claim -------------------------------------------------------------------------------------------------------------------


def test_a_person_gets_the_most_urgent_task_for_as_long_as_the_queue_says(yard, inbox, ana):
    pet(yard)
    urgent = pet(yard, priority=5)
    task = yard.write(inbox.next, ana, "pets")
    assert (task.id, task.state, task.holder) == (urgent.id, State.RUNNING, ana.identity)
    assert task.lease_until == yard.clock.now + 8 * HOUR


def test_nobody_gets_what_another_has(yard, inbox, ana, bo):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    assert yard.write(inbox.next, bo, "pets") is None
    with pytest.raises(WrongState):
        yard.write(inbox.claim, bo, task.id)
    assert yard.write(inbox.claim, ana, task.id).claims == 1


def test_a_paused_queue_gives_nothing_to_people_either(yard, inbox, ana):
    task = pet(yard)
    yard.write(yard.services.queues.pause, yard.actor, "pets")
    assert yard.write(inbox.next, ana, "pets") is None
    with pytest.raises(Conflict):
        yard.write(inbox.claim, ana, task.id)


def test_who_resumes_gets_first_what_they_have_already(yard, inbox, ana, bo):
    first = pet(yard)
    second = pet(yard)
    yard.write(inbox.next, ana, "pets")
    yard.clock.forward(hours=1)
    again = yard.write(inbox.next, ana, "pets", resume=True)
    assert again.id == first.id
    assert again.lease_until == yard.clock.now + 8 * HOUR
    assert yard.write(inbox.next, bo, "pets", resume=True).id == second.id


def test_who_resumes_too_late_begins_anew(yard, inbox, ana):
    pet(yard)
    second = pet(yard)
    yard.write(inbox.next, ana, "pets")
    yard.clock.forward(hours=9)
    assert yard.write(inbox.next, ana, "pets", resume=True).id == second.id


def test_a_lease_that_cannot_be_is_refused(yard, inbox, ana):
    task = pet(yard)
    for lease in (timedelta(0), timedelta(days=4000)):
        for move in (
            lambda r, lease=lease: inbox.next(r, ana, "pets", lease=lease),
            lambda r, lease=lease: inbox.claim(r, ana, task.id, lease=lease),
            lambda r, lease=lease: inbox.extend(r, ana, task.id, lease=lease),
            lambda r, lease=lease: inbox.assign(r, ana, task.id, ana.number, lease=lease),
        ):
            with pytest.raises(Invalid) as refusal:
                yard.store.write(move)
            assert refusal.value.faults[0].pointer == "/lease"


# -- assign ------------------------------------------------------------------------------------------------------------------


def test_a_manager_puts_a_task_into_someones_hands(yard, inbox, people, ana):
    task = pet(yard)
    given = yard.write(inbox.assign, people["manager"], task.id, ana.number)
    assert (given.state, given.holder, given.claims) == (State.RUNNING, ana.identity, 1)
    assert last_event(yard, task).kind == "task.assigned"
    assert last_event(yard, task).data == {
        "to": ana.identity,
        "from": None,
        "by": people["manager"].identity,
    }
    assert yard.write(inbox.assign, people["manager"], task.id, ana.number).claims == 1


def test_a_task_is_taken_from_one_and_given_to_another(yard, inbox, people, ana, bo):
    task = pet(yard)
    held = yard.write(inbox.claim, ana, task.id)
    yard.write(inbox.save_draft, ana, task.id, {"species": "cat"})
    given = yard.write(inbox.assign, people["manager"], task.id, bo.number)
    assert (given.holder, given.claims, given.failures) == (bo.identity, 2, 0)
    with pytest.raises(LeaseLost):
        yard.write(inbox.complete, ana, task.id, {"species": "cat"}, claims=held.claims)
    assert yard.read(inbox.draft, bo, task.id).data == {"species": "cat"}


def test_a_task_is_taken_out_of_someones_hands(yard, inbox, people, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    assert yard.write(inbox.assign, people["manager"], task.id, None).state is State.READY


def test_people_decide_for_themselves_and_managers_for_others(yard, inbox, ana, bo):
    task = pet(yard)
    with pytest.raises(Forbidden):
        yard.write(inbox.assign, ana, task.id, bo.number)
    assert yard.write(inbox.assign, ana, task.id, ana.number).holder == ana.identity
    for wanted in (bo.number, None):
        with pytest.raises(Forbidden):
            yard.write(inbox.assign, bo, task.id, wanted)
    assert yard.write(inbox.assign, ana, task.id, None).state is State.READY


def test_a_task_is_given_only_to_who_may_work(yard, inbox, people):
    create = yard.services.accounts.create_user
    task = pet(yard)
    viewer = yard.write(create, yard.actor, "vi", role="viewer")
    gone = yard.write(create, yard.actor, "gone")
    yard.write(yard.services.accounts.change_user, yard.actor, gone.number, disabled=True)
    for user in (viewer, gone):
        with pytest.raises(Invalid):
            yard.write(inbox.assign, people["manager"], task.id, user.number)
    other = yard.write(create, yard.other_organisation(), "stranger")
    for number in (999, other.number):
        with pytest.raises(NotFound):
            yard.write(inbox.assign, people["manager"], task.id, number)


def test_what_a_worker_runs_or_what_is_over_is_not_assigned(yard, inbox, people, ana):
    yard.submit()
    [running] = yard.worker().claim()
    waiting = pet(yard, run_at=yard.clock.now + HOUR)
    for task in (running, waiting):
        with pytest.raises(WrongState):
            yard.write(inbox.assign, people["manager"], task.id, ana.number)
    assert yard.get(running).holder == running.holder


# -- while they hold it ------------------------------------------------------------------------------------------------------


def test_a_draft_is_kept_beside_the_task_and_keeps_the_task(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    yard.clock.forward(hours=7)
    yard.write(inbox.save_draft, ana, task.id, {"species": "co"})
    draft = yard.read(inbox.draft, ana, task.id)
    assert (draft.data, draft.author, draft.attempt) == ({"species": "co"}, ana.identity, 1)
    assert yard.get(task).lease_until == yard.clock.now + 8 * HOUR
    yard.write(inbox.save_draft, ana, task.id, None)
    assert yard.read(inbox.draft, ana, task.id).data is None


def test_a_draft_does_not_cut_a_longer_lease_short(yard, inbox, ana):
    task = pet(yard)
    held = yard.write(inbox.claim, ana, task.id, lease=100 * HOUR)
    yard.write(inbox.save_draft, ana, task.id, {})
    assert yard.get(task).lease_until == held.lease_until


def test_only_the_holder_of_this_very_attempt_drafts_extends_and_settles(yard, inbox, ana, bo):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    yard.write(inbox.release, ana, task.id)
    yard.write(inbox.claim, ana, task.id)
    for actor, claims in ((bo, None), (bo, 2), (ana, 1), (ana, 3)):
        for move in (
            lambda r, a=actor, c=claims: inbox.save_draft(r, a, task.id, {}, claims=c),
            lambda r, a=actor, c=claims: inbox.extend(r, a, task.id, claims=c),
            lambda r, a=actor, c=claims: inbox.complete(r, a, task.id, {"species": "cat"}, claims=c),
            lambda r, a=actor, c=claims: inbox.fail(r, a, task.id, "no", claims=c),
            lambda r, a=actor, c=claims: inbox.release(r, a, task.id, claims=c),
        ):
            with pytest.raises(LeaseLost):
                yard.store.write(move)
    assert yard.read(inbox.draft, ana, task.id) is None
    assert yard.get(task).holder == ana.identity


def test_what_is_said_after_the_lease_ran_out_is_refused(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    yard.clock.forward(hours=9)
    for move in (
        lambda r: inbox.save_draft(r, ana, task.id, {}),
        lambda r: inbox.extend(r, ana, task.id),
        lambda r: inbox.complete(r, ana, task.id, {"species": "cat"}),
    ):
        with pytest.raises(LeaseLost):
            yard.store.write(move)
    yard.reap()
    assert yard.get(task).state is State.READY


def test_a_person_extends_for_as_long_as_they_say(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    assert yard.write(inbox.extend, ana, task.id, lease=HOUR).lease_until == yard.clock.now + HOUR
    assert yard.write(inbox.extend, ana, task.id).lease_until == yard.clock.now + 8 * HOUR


def test_a_draft_has_a_largest_size(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    with pytest.raises(TooLarge):
        yard.write(inbox.save_draft, ana, task.id, "x" * 2_000_000)
    with pytest.raises(TooLarge):
        yard.write(inbox.complete, ana, task.id, {"species": "cat", "note": "x" * 2_000_000})


# -- settle ------------------------------------------------------------------------------------------------------------------


def test_an_answer_ends_the_task_and_says_who_gave_it(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    yard.write(inbox.save_draft, ana, task.id, {"species": "dog"})
    done = yard.write(inbox.complete, ana, task.id, {"species": "cat", "legs": 4})
    assert (done.state, done.output) == (State.SUCCEEDED, {"species": "cat", "legs": 4})
    assert (done.holder, done.settled_by) == (None, ana.identity)
    assert last_event(yard, task).data == {"attempt": 1, "holder": ana.identity}
    assert yard.read(inbox.draft, ana, task.id) is None


def test_nobody_answers_twice(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    yard.write(inbox.complete, ana, task.id, {"species": "cat"})
    with pytest.raises(WrongState, match="succeeded"):
        yard.write(inbox.complete, ana, task.id, {"species": "dog"})
    assert yard.get(task).output == {"species": "cat"}


def test_an_answer_keeps_to_the_form_or_is_refused_where_it_does_not(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    with pytest.raises(Invalid) as refusal:
        yard.write(inbox.complete, ana, task.id, {"legs": "four"})
    assert {(fault.pointer, fault.code) for fault in refusal.value.faults} == {
        ("/output/species", "required"),
        ("/output/legs", "type"),
    }
    assert yard.get(task).state is State.RUNNING


def test_where_there_is_no_form_anything_is_an_answer(yard, inbox, ana):
    yard.write(yard.services.queues.change, yard.actor, "pets", {"form": None})
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    assert yard.write(inbox.complete, ana, task.id, None).state is State.SUCCEEDED


def test_what_cannot_be_done_fails_and_is_not_tried_again(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    failed = yard.write(inbox.fail, ana, task.id, "the picture is black")
    assert (failed.state, failed.settled_by) == (State.FAILED, ana.identity)
    assert (failed.error.code, failed.error.message) == ("rejected", "the picture is black")


def test_what_is_given_back_is_as_it_was_with_its_draft(yard, inbox, ana, bo):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    yard.write(inbox.save_draft, ana, task.id, {"species": "dog"})
    back = yard.write(inbox.release, ana, task.id, message="not my field")
    assert (back.state, back.failures, back.message) == (State.READY, 0, "not my field")
    assert back.settled_by is None
    yard.write(inbox.next, bo, "pets")
    assert yard.read(inbox.draft, bo, task.id).author == ana.identity


def test_a_worker_is_not_named_in_the_log_for_what_it_ends(yard):
    from taskyard.core.outcome import Done

    yard.submit()
    [task] = yard.worker().claim()
    done = yard.settle(task, Done())
    assert done.settled_by == task.holder
    assert last_event(yard, task).data == {"attempt": 1}


def test_what_a_person_holds_is_canceled_at_once_whatever_key_they_carry(yard, inbox, ana):
    for actor in (ana, replace(ana, identity="key:shared")):
        task = pet(yard)
        yard.write(inbox.claim, actor, task.id)
        assert yard.write(yard.services.tasks.cancel_one, yard.actor, task.id).state is State.CANCELED
        with pytest.raises(WrongState):
            yard.write(inbox.complete, actor, task.id, {"species": "cat"})


# -- comments ----------------------------------------------------------------------------------------------------------------


def test_people_talk_about_a_task_and_take_back_what_they_said(yard, inbox, people, ana, bo):
    task = pet(yard)
    first = yard.write(inbox.comment, ana, task.id, "is this a cat?")
    second = yard.write(inbox.comment, bo, task.id, "it barks")
    assert yard.read(inbox.comments, ana, task.id) == [first, second]
    with pytest.raises(Forbidden):
        yard.write(inbox.delete_comment, ana, task.id, second.id)
    yard.write(inbox.delete_comment, ana, task.id, first.id)
    yard.write(inbox.delete_comment, people["manager"], task.id, second.id)
    assert yard.read(inbox.comments, ana, task.id) == []
    with pytest.raises(NotFound):
        yard.write(inbox.delete_comment, ana, task.id, first.id)
    assert yard.events(task.id)[1:] == [
        "task.commented",
        "task.commented",
        "task.comment_deleted",
        "task.comment_deleted",
    ]


def test_a_comment_is_found_at_its_own_task_only(yard, inbox, ana):
    task, other = pet(yard), pet(yard)
    comment = yard.write(inbox.comment, ana, task.id, "a cat")
    with pytest.raises(NotFound):
        yard.write(inbox.delete_comment, ana, other.id, comment.id)


@pytest.mark.parametrize("text", ["", "  ", "x" * 10_001, "a\0b"])
def test_a_comment_says_something(yard, inbox, ana, text):
    task = pet(yard)
    with pytest.raises(Invalid) as refusal:
        yard.write(inbox.comment, ana, task.id, text)
    assert refusal.value.faults[0].pointer == "/text"


# -- read --------------------------------------------------------------------------------------------------------------------


def test_a_person_sees_what_they_hold_the_longest_held_first(yard, inbox, ana, bo):
    tasks = [pet(yard) for _ in range(3)]
    for task in (tasks[1], tasks[0]):
        yard.write(inbox.claim, ana, task.id)
        yard.clock.forward(seconds=1)
    yard.write(inbox.claim, bo, tasks[2].id)
    assert [task.id for task in yard.read(inbox.held, ana)] == [tasks[1].id, tasks[0].id]
    assert [task.id for task in yard.read(inbox.held, ana, user=bo.number)] == [tasks[2].id]
    assert yard.read(inbox.held, ana, queue="other") == []


def test_people_see_how_much_waits_in_each_queue_for_people(yard, inbox, ana):
    yard.submit()
    for _ in range(3):
        pet(yard)
    yard.write(inbox.next, ana, "pets")
    [waiting] = yard.read(inbox.waiting, ana)
    assert (waiting.queue.name, waiting.ready, waiting.held) == ("pets", 2, 1)
    assert isinstance(waiting, Waiting)


def test_another_organisations_tasks_are_not_found(yard, inbox, ana):
    task = pet(yard)
    yard.write(inbox.claim, ana, task.id)
    comment = yard.write(inbox.comment, ana, task.id, "a cat")
    # Not even under the identity of the one who holds it.
    other = replace(yard.other_organisation(), identity=ana.identity)
    assert yard.read(inbox.held, other) == []
    assert yard.read(inbox.waiting, other) == []
    for move in (
        lambda r: inbox.claim(r, other, task.id),
        lambda r: inbox.assign(r, other, task.id, None),
        lambda r: inbox.extend(r, other, task.id),
        lambda r: inbox.save_draft(r, other, task.id, {}),
        lambda r: inbox.draft(r, other, task.id),
        lambda r: inbox.complete(r, other, task.id, {"species": "cat"}),
        lambda r: inbox.fail(r, other, task.id, "no"),
        lambda r: inbox.release(r, other, task.id),
        lambda r: inbox.comment(r, other, task.id, "hello"),
        lambda r: inbox.comments(r, other, task.id),
        lambda r: inbox.delete_comment(r, other, task.id, comment.id),
        lambda r: inbox.next(r, other, "pets"),
    ):
        with pytest.raises(NotFound):
            yard.store.write(move)


def test_who_may_only_look_does_not_work(yard, inbox, ana):
    task = pet(yard)
    viewer = replace(ana, permissions=ROLES["viewer"])
    for move in (
        lambda r: inbox.next(r, viewer, "pets"),
        lambda r: inbox.next(r, viewer, "pets", resume=True),
        lambda r: inbox.claim(r, viewer, task.id),
        lambda r: inbox.assign(r, viewer, task.id, viewer.number),
        lambda r: inbox.comment(r, viewer, task.id, "hello"),
    ):
        with pytest.raises(Forbidden):
            yard.store.write(move)
    yard.write(inbox.claim, ana, task.id)
    for move in (
        lambda r: inbox.extend(r, viewer, task.id),
        lambda r: inbox.save_draft(r, viewer, task.id, {}),
        lambda r: inbox.complete(r, viewer, task.id, {"species": "cat"}),
        lambda r: inbox.fail(r, viewer, task.id, "no"),
        lambda r: inbox.release(r, viewer, task.id),
    ):
        with pytest.raises(Forbidden):
            yard.store.write(move)


def test_who_may_only_work_does_not_look_around_but_sees_what_they_did(yard, inbox, ana):
    task = pet(yard)
    hand = replace(ana, permissions=frozenset({Permission.WORK}))
    for look in (inbox.held, inbox.waiting, lambda r, a: inbox.draft(r, a, task.id)):
        with pytest.raises(Forbidden):
            yard.read(look, hand)
    yard.write(inbox.claim, hand, task.id)
    assert yard.write(inbox.complete, hand, task.id, {"species": "cat"}).state is State.SUCCEEDED
