"""Operations: one task per rack, none in another's way; and the inventory and rules they go by."""

from datetime import timedelta

import pytest

from taskyard.core.actor import Actor
from taskyard.core.errors import Conflict, Forbidden, Invalid, LeaseLost, NotFound, WrongState
from taskyard.core.operation import Operation, RackWork
from taskyard.core.outcome import Done
from taskyard.core.plan_reader import plan_of
from taskyard.core.task import Reason, State
from taskyard.service.inventory import read_inventory
from taskyard.service.operations import QUEUE, Wanted
from taskyard.service.rules import NewRule, builtin_plans
from taskyard.service.sites import ForeignSite
from taskyard.store.sites import RackFilter, TrayFilter

ON = Wanted(operation=Operation.POWER, code="power_on")
UPGRADE = Wanted(operation=Operation.FIRMWARE, code="upgrade", version="2")
QUEUED = Wanted(operation=Operation.POWER, code="power_off", waits=timedelta(minutes=10))
PLAN = plan_of({"steps": [{"component": "Compute", "stage": 1, "action": {"name": "power"}}]})


def inventory(racks=2, **site):
    trays = [
        {"kind": "PowerShelf", "name": "shelf"},
        {"kind": "NVSwitch", "name": "switch"},
        {"kind": "Compute", "name": "compute-1", "slot": 1, "power": "off"},
        {"kind": "Compute", "name": "compute-2", "slot": 2},
    ]
    racks = [{"name": f"Rack-0{number}", "tray": trays} for number in range(1, racks + 1)]
    return {"site": [{"name": "dc-1", "rack": racks, **site}]}


@pytest.fixture
def site(yard):
    [site] = yard.write(yard.services.sites.load, read_inventory(inventory()))
    return site


@pytest.fixture
def rack(yard, site):
    return yard.read(yard.services.sites.racks, site)[0]


@pytest.fixture
def trays(yard, site, rack):
    return {
        tray.name: tray for tray in yard.read(yard.services.sites.trays, site, TrayFilter(racks=[rack.id]))
    }


@pytest.fixture
def do(yard, site, trays):
    """Do something to the first rack, or to its trays of some names."""

    def begin(wanted, *names):
        wanted_trays = [trays[name] for name in names] or list(trays.values())
        [task] = yard.write(yard.services.operations.on_trays, yard.actor, site, wanted, wanted_trays)
        return task

    return begin


def claim(yard, task):
    [claimed] = yard.worker(task.type, queue=QUEUE).claim(1)
    assert claimed.id == task.id
    return claimed


# -- the inventory ---------------------------------------------------------------------------------------------------------


def test_an_inventory_is_loaded_again_and_again_and_keeps_ids_and_what_was_observed(yard, site, trays):
    seen = {trays["compute-1"].id: {"power": "on"}}
    yard.write(yard.services.sites.observe, site.id, seen)

    [again] = yard.write(yard.services.sites.load, read_inventory(inventory(racks=1)))

    assert again.id == site.id
    assert len(yard.read(yard.services.sites.racks, site)) == 1
    left = yard.read(yard.services.sites.trays, site)
    assert {tray.name: tray.observed for tray in left}["compute-1"] == {"power": "on"}
    assert len(left) == 4


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], "/site"),
        ({"site": [{"rack": []}]}, "/site/0/name"),
        ({"site": [{"name": "x", "colour": "red"}]}, "/site/0/colour"),
        ({"site": [{"name": "x", "id": "1"}]}, "/site/0/id"),
        (inventory(operable="yes"), "/site/0/operable"),
        (
            {"site": [{"name": "x", "rack": [{"name": "r", "tray": [{"name": "t", "kind": "Toaster"}]}]}]},
            "/site/0/rack/0/tray/0/kind",
        ),
        ({"site": [{"name": "x"}, {"name": "x"}]}, ""),
    ],
)
def test_an_inventory_that_cannot_be_is_refused_with_the_place(document, pointer):
    with pytest.raises(Invalid) as refused:
        read_inventory(document)
    assert refused.value.faults[0].pointer == pointer


def test_another_organisations_site_is_not_found_and_cannot_be_taken(yard, site):
    stranger = yard.other_organisation("other")
    with pytest.raises(ForeignSite):
        yard.read(yard.services.sites.get, stranger, site.id)
    with pytest.raises(Conflict):
        yard.write(yard.services.sites.load, read_inventory(inventory(id=site.id), organisation="other"))


# -- conflicts -------------------------------------------------------------------------------------------------------------


def test_a_request_for_all_racks_makes_a_task_for_each(yard, site):
    tasks = yard.write(yard.services.operations.on_racks, yard.actor, site, ON, RackFilter())

    assert len({task.labels["rack"] for task in tasks}) == 2
    assert all(len(list(RackWork.of(task.input).ids())) == 4 for task in tasks)


def test_what_is_in_the_way_of_another_is_refused_until_that_has_ended(yard, do):
    first = do(ON)
    with pytest.raises(Conflict, match=first.id):
        do(UPGRADE, "compute-1")

    yard.settle(claim(yard, first), Done())

    assert do(UPGRADE, "compute-1").state is State.READY
    assert do(UPGRADE, "compute-2").state is State.READY


def test_racks_that_are_busy_are_left_out_as_long_as_one_is_not(yard, site, rack, do):
    do(ON)
    [task] = yard.write(yard.services.operations.on_racks, yard.actor, site, ON, RackFilter())
    assert task.labels["rack"] != rack.id
    with pytest.raises(Conflict):
        yard.write(yard.services.operations.on_racks, yard.actor, site, ON, RackFilter())


def test_what_may_wait_begins_when_nothing_is_in_its_way_any_more(yard, do):
    first = do(ON)
    waiting = do(QUEUED)
    behind = do(QUEUED, "compute-1")

    assert (waiting.state, waiting.reason) == (State.SUSPENDED, Reason.BLOCKED)
    yard.settle(claim(yard, first), Done())
    assert (yard.get(waiting).state, yard.get(behind).state) == (State.READY, State.SUSPENDED)
    yard.settle(claim(yard, waiting), Done())
    assert yard.get(behind).state is State.READY


def test_what_overtakes_the_queue_is_waited_for_as_well(yard, do):
    first = do(ON, "compute-1")
    waiting = do(QUEUED, "compute-1", "compute-2")
    overtaking = do(ON, "compute-2")

    assert overtaking.state is State.READY
    yard.settle(claim(yard, first), Done())
    assert yard.get(waiting).state is State.SUSPENDED
    yard.settle(claim(yard, overtaking), Done())
    assert yard.get(waiting).state is State.READY


def test_no_more_than_five_wait_for_one_rack(yard, do):
    do(ON)
    for _ in range(5):
        do(QUEUED)
    with pytest.raises(Conflict, match="5 tasks wait"):
        do(QUEUED)


def test_what_has_waited_too_long_ends(yard, do):
    do(ON)
    waiting = do(QUEUED)
    yard.clock.forward(minutes=11)
    yard.write(yard.services.tasks.expire, 100)
    assert (yard.get(waiting).state, yard.get(waiting).reason) == (State.FAILED, Reason.EXPIRED)


def test_a_pinned_rule_must_be_there_before_anything_begins(yard, site, do):
    with pytest.raises(Invalid, match="no rule"):
        do(Wanted(operation=Operation.POWER, code="power_on", rule="nope"))
    assert yard.read(
        yard.services.operations.of_site, yard.actor, site, open_only=False, limit=9, offset=0
    ) == ([], 0)


def test_who_may_only_look_may_not_operate(yard, site, trays):
    nobody = Actor(organisation=yard.organisation, identity="user:9", permissions=frozenset())
    with pytest.raises(Forbidden):
        yard.write(yard.services.operations.on_trays, nobody, site, ON, list(trays.values()))


# -- cancel and lists ------------------------------------------------------------------------------------------------------


def test_what_runs_is_ended_at_once_and_its_holders_next_word_is_refused(yard, site, do):
    task = do(ON)
    claimed = claim(yard, task)

    ended = yard.write(yard.services.operations.cancel, yard.actor, site, task.id)

    assert ended.state is State.CANCELED
    with pytest.raises(LeaseLost):
        yard.settle(claimed, Done())
    assert do(ON).state is State.READY
    again = yard.write(yard.services.operations.cancel, yard.actor, site, task.id)
    assert again.finished_at == ended.finished_at


def test_what_has_ended_by_itself_cannot_be_canceled(yard, site, do):
    task = do(ON)
    yard.settle(claim(yard, task), Done())
    with pytest.raises(WrongState):
        yard.write(yard.services.operations.cancel, yard.actor, site, task.id)


def test_lists_tell_what_concerns_a_rack_and_what_a_tray(yard, site, rack, trays, do):
    first = do(ON, "compute-1")
    second = do(ON, "compute-2")
    yard.settle(claim(yard, first), Done())
    operations = yard.services.operations

    def of_rack(**named):
        tasks, total = yard.read(operations.of_rack, yard.actor, site, rack.id, limit=10, offset=0, **named)
        return [task.id for task in tasks], total

    def of_tray(name, **named):
        tasks, total = yard.read(
            operations.of_tray, yard.actor, site, trays[name].id, limit=10, offset=0, **named
        )
        return [task.id for task in tasks], total

    assert of_rack(open_only=False) == ([second.id, first.id], 2)
    assert of_rack(open_only=True) == ([second.id], 1)
    assert of_tray("compute-1", open_only=False) == ([first.id], 1)
    assert of_tray("compute-1", open_only=True) == ([], 0)
    assert of_tray("shelf", open_only=False) == ([], 0)


def test_a_task_of_another_site_is_not_found(yard, site):
    [other] = yard.write(yard.services.sites.load, read_inventory(inventory(name="dc-2")))
    [task, _] = yard.write(yard.services.operations.on_racks, yard.actor, site, ON, RackFilter())
    with pytest.raises(NotFound):
        yard.read(yard.services.operations.get, yard.actor, other, task.id)


# -- rules -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def make(yard, site):
    def create(name="mine", operation=Operation.POWER, code="power_on", plan=PLAN):
        new = NewRule(name=name, operation=operation, code=code, plan=plan)
        return yard.write(yard.services.rules.create, yard.actor, site, new)

    return create


def test_a_pinned_rule_goes_before_the_racks_before_the_sites_before_the_built_in(yard, site, rack, make, do):
    pinned, given, default = make("pinned"), make("given"), make("default")
    work = RackWork.of(do(ON).input)
    rules = yard.services.rules

    def resolved(pin=None):
        return yard.read(rules.resolve, work, pin)

    assert resolved().rule is None
    assert resolved().plan == builtin_plans()[Operation.POWER, "power_on"]
    yard.write(rules.make_default, yard.actor, site, default.id)
    assert resolved().rule == default.id
    yard.write(rules.give, yard.actor, site, rack.id, given.id)
    assert resolved().rule == given.id
    assert resolved(pinned.id).rule == pinned.id
    yard.write(rules.delete, yard.actor, site, given.id)
    assert resolved().rule == default.id
    with pytest.raises(NotFound):
        resolved(given.id)


def test_there_is_one_default_for_an_operation_and_its_code(yard, site, make):
    first, second, other = make("first"), make("second"), make("other", code="power_off")
    for rule in (first, second, other):
        yard.write(yard.services.rules.make_default, yard.actor, site, rule.id)

    found, total = yard.read(yard.services.rules.search, yard.actor, site, limit=10)

    assert [(rule.name, rule.is_default) for rule in found] == [
        ("other", True),
        ("second", True),
        ("first", False),
    ]
    assert total == 3


def test_a_rule_is_for_a_code_that_its_operation_has(make):
    with pytest.raises(Invalid):
        make(operation=Operation.FIRMWARE, code="power_on")


def test_a_rule_without_steps_can_be_kept_but_not_gone_by(yard, make, do):
    empty = make(plan=plan_of({}))
    work = RackWork.of(do(ON).input)
    with pytest.raises(Conflict, match="no steps"):
        yard.read(yard.services.rules.resolve, work, empty.id)
