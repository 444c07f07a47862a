"""Organisations cannot see or touch one another's things, whatever they know of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskyard.core.errors import Invalid, LeaseLost, NotFound
from taskyard.core.hold import Hold, Report, Settlement
from taskyard.core.outcome import Done, Failed, Waits
from taskyard.core.task import NewTask, State
from taskyard.core.worker import Lane
from taskyard.store.tasks import TaskFilter


@pytest.fixture
def stranger(yard):
    return yard.other_organisation()


@pytest.fixture
def ours(yard):
    return yard.submit(labels={"site": "x"}, key="daily", concurrency_key="db")


def everything(yard, *tasks):
    """What is stored of *tasks*, to see that nothing of it changed."""
    return [
        (
            yard.get(task),
            yard.events(task.id),
            yard.read(yard.services.tasks.results, yard.actor, task.id),
            yard.read(yard.services.tasks.steps, yard.actor, task.id),
            yard.read(yard.services.tasks.logs, yard.actor, task.id),
        )
        for task in tasks
    ]


@pytest.mark.parametrize("look", ["get", "results", "steps", "logs"])
def test_a_task_of_another_organisation_is_not_found(yard, stranger, ours, look):
    with pytest.raises(NotFound):
        yard.read(getattr(yard.services.tasks, look), stranger, ours.id)


@pytest.mark.parametrize(
    "filter",
    [
        {},
        {"labels": {"site": "x"}},
        {"key": "daily"},
        {"states": (State.READY, State.RUNNING)},
        {"type": "resize"},
    ],
    ids=str,
)
def test_lists_and_counts_show_ones_own(yard, stranger, ours, filter):
    search = yard.services.tasks.search
    assert [task.id for task in yard.read(search, yard.actor, TaskFilter(**filter), limit=9)] == [ours.id]
    assert yard.read(search, stranger, TaskFilter(**filter), limit=9) == []
    assert yard.read(search, stranger, TaskFilter(ids=(ours.id,), **filter), limit=9) == []
    assert yard.read(lambda r: r.tasks.count(stranger.organisation, TaskFilter(**filter))) == 0


@pytest.mark.parametrize("state", ["scheduled", "ready", "ended"])
@pytest.mark.parametrize("move", ["retry", "run_now", "cancel_one", "relabel", "claim_task"])
def test_no_move_is_made_on_a_task_of_another_organisation(yard, stranger, move, state):
    ours = yard.submit(run_at=yard.clock.now + timedelta(days=1) if state == "scheduled" else None)
    if state == "ended":
        yard.settle(yard.worker().claim()[0], Done())
    before = everything(yard, ours)
    service = yard.services.work if move == "claim_task" else yard.services.tasks
    more = [{"site": "theirs"}] if move == "relabel" else []

    with pytest.raises(NotFound):
        yard.write(getattr(service, move), stranger, ours.id, *more)

    assert everything(yard, ours) == before


@pytest.mark.parametrize("member", ["parent", "retry_of", "blocked_by"])
def test_a_task_of_another_organisation_is_not_referred_to(yard, stranger, ours, member):
    value = (ours.id,) if member == "blocked_by" else ours.id

    with pytest.raises(Invalid) as refusal:
        yard.submit(actor=stranger, **{member: value})

    assert refusal.value.faults[0].code == "unknown_task"


def test_a_workers_lanes_are_those_of_its_own_organisation(yard, stranger, ours):
    yard.write(
        yard.services.work.register,
        stranger,
        id="theirs",
        name="w",
        lanes=[Lane("default", "resize")],
        slots=1,
        lease=timedelta(minutes=1),
    )
    claim = yard.services.work.claim

    assert yard.write(claim, stranger, "theirs", [Lane("default", "resize")], 10) == []
    assert yard.get(ours) == ours


def test_a_worker_of_another_organisation_is_nobody(yard, stranger, ours):
    worker = yard.worker(lease=timedelta(minutes=1))
    work = yard.services.work
    with pytest.raises(LeaseLost):
        yard.write(work.claim, stranger, worker.id, worker.lanes, 1)
    with pytest.raises(LeaseLost):
        yard.write(work.beat, stranger, worker.id, lease=timedelta(days=9))
    yard.write(work.leave, stranger, worker.id)

    assert len(worker.claim()) == 1  # it lives on, in our organisation
    before = everything(yard, ours)
    yard.write(work.leave, stranger, worker.id)
    assert everything(yard, ours) == before


def test_queues_are_each_organisations_own(yard, stranger, ours):
    with pytest.raises(NotFound):
        yard.write(yard.services.work.claim_next, stranger, "default")


@pytest.mark.parametrize("holder", ["worker", "person"])
def test_who_knows_everything_of_an_attempt_but_is_of_another_organisation_changes_nothing(
    yard, stranger, ours, holder
):
    if holder == "worker":
        [task] = yard.worker().claim()
    else:
        task = yard.write(yard.services.work.claim_task, yard.actor, ours.id)
    guess = replace(Hold.of(task), organisation=stranger.organisation)
    before = everything(yard, task)
    work = yard.services.work

    for outcome in (Done(), Failed("no"), Waits(events=("go",))):
        [refused] = yard.store.together(work.settle, [Settlement(guess, outcome, "log")])
        assert isinstance(refused, LeaseLost)
    [refused] = yard.store.together(work.report, [Report(guess, 1, "hello")])
    assert isinstance(refused, LeaseLost)
    for move in (
        lambda r: work.publish(r, guess, "name", 1),
        lambda r: work.finish_step(r, guess, "name", 1),
        lambda r: work.steps(r, guess),
        lambda r: work.spawn(r, stranger, guess, "name", [NewTask(type="child")]),
        lambda r: work.save_log(r, guess, "hello"),
        lambda r: work.set_report(r, guess, {}),
        lambda r: work.extend(r, replace(stranger, identity=guess.holder), task, lease=timedelta(days=1)),
    ):
        with pytest.raises(LeaseLost):
            yard.write(move)

    assert everything(yard, task) == before


def test_a_wrong_settlement_of_another_organisation_does_not_spoil_the_right_one_in_its_batch(
    yard, stranger, ours
):
    [task] = yard.worker().claim()
    right = Hold.of(task)
    wrong = replace(right, organisation=stranger.organisation)

    answers = yard.store.together(
        yard.services.work.settle, [Settlement(wrong, Done("theirs")), Settlement(right, Done("ours"))]
    )

    assert isinstance(answers[0], LeaseLost)
    assert yard.get(ours).output == "ours"


def test_a_task_waits_for_no_task_of_another_organisation(yard, stranger, ours):
    """To wait for it would tell when it ends."""
    theirs = yard.submit("other", actor=stranger)
    worker = yard.worker()
    [task] = worker.claim()

    with pytest.raises(Invalid, match=f"there is no task {theirs.id}"):
        yard.settle(task, Waits(tasks=(theirs.id,)))


def test_an_event_is_seen_by_its_own_organisation_only(yard, stranger, ours):
    feed = yard.read(lambda r: r.events.read(r.events.begin(), limit=100, organisation=stranger.organisation))

    assert feed == []
    assert yard.read(lambda r: r.events.of_subject(stranger.organisation, ours.id)) == []
