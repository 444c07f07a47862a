"""Plans carried out on a simulated site, by a real worker: stages, steps, retries, time limits, and the report of all that."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils import uuid7

from taskyard.core.actor import Actor
from taskyard.core.errors import Conflict
from taskyard.core.operation import Kind, Operation
from taskyard.core.outcome import Done
from taskyard.core.plan_reader import plan_of
from taskyard.core.task import State
from taskyard.loops.driver import DESIRED_VERSION, DriverError, SimulatedSite
from taskyard.loops.handlers import Handlers
from taskyard.loops.plan import Plans
from taskyard.loops.plan_actions import version_for
from taskyard.loops.store_desk import StoreDesk
from taskyard.loops.worker import Worker
from taskyard.service.inventory import read_inventory
from taskyard.service.operations import QUEUE, Wanted
from taskyard.service.rules import NewRule
from taskyard.service.seal import Seal
from taskyard.store.sites import RackFilter, TrayFilter

SHELF, SWITCH, ONE, TWO = "shelf", "switch", "compute-1", "compute-2"


class PlanTime:
    """Time that passes only where a plan waits."""

    def __init__(self):
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.waits = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class Ground:
    """A yard with one rack, the simulated site it stands on, and a worker that carries out what is asked."""

    def __init__(self, yard):
        self.yard = yard
        self.time = PlanTime()
        self.hardware = SimulatedSite(takes=timedelta(seconds=1), sleep=self.time.sleep)
        self.seal = Seal("a key that is long enough to be one")
        trays = [
            {"kind": "PowerShelf", "name": SHELF},
            {"kind": "NVSwitch", "name": SWITCH},
            {"kind": "Compute", "name": ONE},
            {"kind": "Compute", "name": TWO},
        ]
        document = {"site": [{"name": "dc-1", "rack": [{"name": "Rack-01", "tray": trays}]}]}
        [self.site] = yard.write(yard.services.sites.load, read_inventory(document))

    def trays(self):
        return {tray.name: tray for tray in self.yard.read(self.yard.services.sites.trays, self.site)}

    def names(self, ids):
        names = {tray.id: tray.name for tray in self.trays().values()}
        return [names[id] for id in ids]

    def asked(self):
        return [(what, self.names(ids)) for what, ids in self.hardware.asked]

    def rule(self, *steps, operation=Operation.POWER, code="power_on"):
        new = NewRule(name="r", operation=operation, code=code, plan=plan_of({"steps": list(steps)}))
        return self.yard.write(self.yard.services.rules.create, self.yard.actor, self.site, new)

    def begin(self, code="power_on", *names, operation=Operation.POWER, **wanted):
        trays = [self.trays()[name] for name in names] or list(self.trays().values())
        asked = Wanted(operation=operation, code=code, **wanted)
        [task] = self.yard.write(
            self.yard.services.operations.on_trays, self.yard.actor, self.site, asked, trays
        )
        return task

    def plans(self, **named):
        drivers = {"simulated": self.hardware}
        named = {"now": self.time, "sleep": self.time.sleep, "seal": self.seal, **named}
        return Plans(self.yard.store, self.yard.services, drivers, **named)

    def work(self, **named):
        """Let a worker carry out what is ready, to the end."""
        worker = self.worker(until_idle=True, **named)
        worker.run()

    def worker(self, *, until_idle=False, **named):
        handlers = Handlers()
        for handler in self.plans(**named).handlers():
            handlers.add(handler)
        actor = Actor(organisation=self.yard.organisation, identity="system")
        desk = StoreDesk(self.yard.store, self.yard.services, actor)
        return Worker(desk, handlers, new_id=lambda: str(uuid7()), jitter=lambda: 0.0, until_idle=until_idle)

    def done(self, code="power_on", *names, **wanted):
        task = self.begin(code, *names, **wanted)
        self.work()
        return self.yard.get(task)


@pytest.fixture
def ground(yard):
    return Ground(yard)


def step(component="Compute", stage=1, **members):
    return {"component": component, "stage": stage, "action": {"name": "power"}, **members}


def verify(status, timeout="1m", poll="10s"):
    return {
        "name": "verify_power",
        "timeout": timeout,
        "poll": poll,
        "parameters": {"expected_status": status},
    }


def statuses(task):
    return [
        (stage["number"], stage["status"], [(step["component"], step["status"]) for step in stage["steps"]])
        for stage in task.report["stages"]
    ]


# -- the built-in plans ----------------------------------------------------------------------------------------------------


def test_a_rack_is_switched_on_from_its_shelves_to_its_computers(ground):
    task = ground.done("power_on")

    assert task.state is State.SUCCEEDED
    assert ground.asked() == [("power_on", [SHELF]), ("power_on", [SWITCH]), ("power_on", [ONE, TWO])]
    assert statuses(task) == [
        (1, "completed", [("PowerShelf", "completed")]),
        (2, "completed", [("NVSwitch", "completed")]),
        (3, "completed", [("Compute", "completed")]),
    ]
    assert {name: tray.observed["power"] for name, tray in ground.trays().items()} == dict.fromkeys(
        (SHELF, SWITCH, ONE, TWO), "on"
    )
    assert task.rule is None


@pytest.mark.parametrize(
    "code", ["power_off", "force_power_on", "force_power_off", "restart", "force_restart"]
)
def test_every_way_of_switching_ends_well(ground, code):
    assert ground.done(code).state is State.SUCCEEDED
    ends = "off" if code.endswith("off") else "on"
    assert {tray.observed["power"] for tray in ground.trays().values()} == {ends}


def test_a_rack_is_brought_up(ground):
    task = ground.done("bring_up", operation=Operation.BRING_UP)

    assert task.state is State.SUCCEEDED
    assert [stage for stage, _, _ in statuses(task)] == [1, 2, 3, 4, 5, 6]
    assert ground.trays()[ONE].observed == {"power": "on", "firmware": DESIRED_VERSION}


def test_firmware_is_updated_with_what_was_sealed_and_what_was_asked(ground):
    secret = ground.seal.seal('{"shared": "hush"}')
    task = ground.done("upgrade", operation=Operation.FIRMWARE, version="24.11.0", credentials=secret)

    assert task.state is State.SUCCEEDED
    assert ground.trays()[SWITCH].observed["firmware"] == "24.11.0"
    assert "firmware" not in ground.trays()[SHELF].observed
    assert "hush" not in str(task.input)


def test_what_carries_secrets_fails_where_they_cannot_be_opened(ground):
    other = Seal("a key that is long enough, but another").seal("{}")
    assert (
        "another key" in ground.done("upgrade", operation=Operation.FIRMWARE, credentials=other).error.message
    )


def test_hardware_and_racks_are_expected_and_decommissioned(ground):
    assert ground.done("ingest", operation=Operation.BRING_UP).state is State.SUCCEEDED
    assert ground.done("decommission", operation=Operation.DECOMMISSION).state is State.SUCCEEDED
    assert [what for what, _ in ground.asked()] == [
        "expect",
        "expect",
        "decommission",
        "decommission",
        "decommission",
    ]


@pytest.mark.parametrize("code", ["warm_reset", "cold_reset"])
def test_what_there_is_no_plan_for_fails(ground, code):
    task = ground.done(code)
    assert (task.state, task.failures, task.error.message) == (
        State.FAILED,
        1,
        f"the rule for power {code} has no steps",
    )


# -- stages and steps ------------------------------------------------------------------------------------------------------


def test_steps_for_which_there_are_no_components_are_skipped(ground):
    task = ground.done("power_on", ONE)

    assert task.state is State.SUCCEEDED
    assert statuses(task)[0] == (1, "completed", [("PowerShelf", "skipped")])
    assert ground.asked() == [("power_on", [ONE])]


def test_what_comes_before_and_after_an_action_keeps_its_place(ground):
    off = {"name": "power", "parameters": {"operation": "power_off"}}
    nap = {"name": "sleep", "parameters": {"duration": "7s"}}
    rule = ground.rule(step(before=[off, verify("off"), nap], after=[verify("on")], delay_after="90s"))

    task = ground.done("power_on", ONE, rule=rule.id)

    assert (task.state, task.rule) == (State.SUCCEEDED, rule.id)
    assert [what for what, _ in ground.asked()] == ["power_off", "power_on"]
    assert ground.time.waits == [1, 7, 1, 90]


def test_no_more_components_at_a_time_than_the_step_allows(ground):
    rule = ground.rule(step(max_parallel=1))
    ground.done("power_on", rule=rule.id)
    assert ground.asked() == [("power_on", [ONE]), ("power_on", [TWO])]


def test_stages_wait_for_each_other_and_keep_their_numbers(ground):
    rule = ground.rule(step(stage=9), step("NVSwitch", stage=4))
    task = ground.done("power_on", rule=rule.id)
    assert [stage for stage, _, _ in statuses(task)] == [4, 9]
    assert ground.asked() == [("power_on", [SWITCH]), ("power_on", [ONE, TWO])]


def test_the_first_step_that_fails_fails_the_stage_and_ends_the_task(ground):
    ground.hardware.broken[ground.trays()[SWITCH].id] = "no answer\nfrom its controller"
    task = ground.done("power_on")

    assert (task.state, task.failures) == (State.FAILED, 1)
    assert task.error.message == "component type NVSwitch failed: switch: no answer"
    assert [status for _, status, _ in statuses(task)] == ["completed", "failed", "pending"]
    assert task.report["error"] == task.report["stages"][1]["error"] == task.error.message
    assert task.report["stages"][1]["steps"][0]["error"] == task.error.message


def test_what_fails_is_tried_as_often_as_the_step_says_with_growing_waits(ground):
    ground.hardware.broken[ground.trays()[ONE].id] = "busy"
    retry = {"attempts": 4, "first": "10s", "factor": 3, "most": "50s"}
    task = ground.done("power_on", ONE, rule=ground.rule(step(retry=retry)).id)

    assert task.state is State.FAILED
    assert len(ground.asked()) == 4
    assert ground.time.waits == [1, 10, 1, 30, 1, 50, 1]


def test_what_does_not_become_as_it_should_in_time_fails(ground):
    rule = ground.rule({**step(), "action": verify("on", timeout="30s", poll="10s")})
    task = ground.done("power_on", ONE, TWO, rule=rule.id)

    assert "compute-1, compute-2: not on within 30s" in task.error.message
    assert ground.time.waits == [10, 10, 10]


def test_an_operation_that_takes_too_long_as_a_whole_fails(ground):
    nap = {"name": "sleep", "parameters": {"duration": "59m"}}
    rule = ground.rule(step(before=[nap, nap]))
    task = ground.done("power_on", ONE, rule=rule.id)
    assert "the operation took longer than 1h0m0s" in task.error.message
    assert ground.asked() == []


def test_what_is_not_ready_is_waited_for_unless_nobody_cares(ground):
    ground.hardware.not_ready.add(ground.trays()[ONE].id)
    rule = ground.rule(step())
    assert "not ready for power_on within 30m0s" in ground.done("power_on", ONE, rule=rule.id).error.message
    assert ground.asked() == []
    ground.time.now -= timedelta(minutes=30)
    assert ground.done("power_on", ONE, rule=rule.id, heedless=True).state is State.SUCCEEDED


def test_reachability_needs_all_kinds_or_any_as_the_rule_says(ground):
    ground.done("power_on", SWITCH, ONE)
    ground.hardware.broken[ground.trays()[ONE].id] = "cut off"

    def look(need_all):
        parameters = {"component_types": ["Compute", "NVSwitch"], "require_all": need_all}
        action = {"name": "verify_reachable", "timeout": "20s", "poll": "10s", "parameters": parameters}
        return ground.done("power_on", SWITCH, ONE, rule=ground.rule({**step(), "action": action}).id)

    assert look(False).state is State.SUCCEEDED
    assert "Compute: not reachable within 20s" in look(True).error.message


def test_firmware_is_compared(ground):
    same = ground.rule({**step(), "action": {"name": "verify_same_firmware"}})
    right = ground.rule({**step(), "action": {"name": "verify_firmware", "parameters": {"version": "2"}}})
    ground.done("upgrade", ONE, operation=Operation.FIRMWARE, version="2")

    assert "the firmware differs: 2, None" in ground.done("power_on", ONE, TWO, rule=same.id).error.message
    assert ground.done("power_on", ONE, rule=right.id).state is State.SUCCEEDED
    assert "compute-2: the firmware is not 2" in ground.done("power_on", TWO, rule=right.id).error.message


def test_a_version_may_have_a_section_for_each_kind():
    sections = '{"compute": "1", "nvswitch": {"bios": "7"}}'
    assert version_for(sections, Kind.COMPUTE) == "1"
    assert version_for(sections, Kind.NVSWITCH) == '{"bios": "7"}'
    assert version_for(sections, Kind.POWER_SHELF) is None
    assert version_for("{not json", Kind.COMPUTE) == "{not json"
    assert version_for(None, Kind.COMPUTE) is None


# -- attempts --------------------------------------------------------------------------------------------------------------


def test_a_second_attempt_does_not_do_again_what_was_done_and_goes_by_the_plan_it_began_with(ground, yard):
    rule = ground.rule(step("NVSwitch", 1), step("Compute", 2, after=[verify("on")]))
    task = ground.begin("power_on", rule=rule.id)
    reached = threading.Event()

    async def hang(trays):
        reached.set()
        await asyncio.Event().wait()

    ground.hardware.power_states, looks = hang, ground.hardware.power_states
    first = ground.worker()
    first.start()
    assert reached.wait(20)
    first.drain(timedelta(0))  # gives back what it holds: as a deploy does
    assert first.join(timedelta(seconds=20))
    yard.write(yard.services.rules.delete, yard.actor, ground.site, rule.id)
    ground.hardware.power_states = looks
    [finished, _] = yard.get(task).report["stages"]
    ground.time.now += timedelta(minutes=5)

    ground.work()

    done = yard.get(task)
    assert (done.state, done.claims, done.rule) == (State.SUCCEEDED, 2, rule.id)
    assert ground.asked() == [("power_on", [SWITCH]), ("power_on", [ONE, TWO])]
    assert (finished["status"], done.report["stages"][0]) == ("completed", finished)


def test_a_task_that_was_taken_away_touches_no_hardware_any_more(ground, yard):
    task = ground.begin("power_on")
    asked = []

    async def cancel_meanwhile(trays, code):
        asked.append(code)
        await asyncio.to_thread(yard.write, yard.services.operations.cancel, yard.actor, ground.site, task.id)
        raise DriverError("busy")  # else tried again

    ground.hardware.power = cancel_meanwhile
    ground.work()

    ended = yard.get(task)
    assert (ended.state, asked) == (State.CANCELED, ["power_on"])
    assert statuses(ended)[0] == (1, "running", [("PowerShelf", "running")])


def test_a_pinned_rule_that_is_gone_fails_the_task(ground, yard):
    rule = ground.rule(step())
    task = ground.begin("power_on", rule=rule.id)
    yard.write(yard.services.rules.delete, yard.actor, ground.site, rule.id)
    ground.work()
    assert yard.get(task).error.message == f"there is no rule {rule.id}"


def test_a_rack_without_components_fails(ground, yard):
    document = {"site": [{"name": "dc-1", "rack": [{"name": "Rack-01"}]}]}
    yard.write(yard.services.sites.load, read_inventory(document))
    wanted = Wanted(operation=Operation.POWER, code="power_on")
    [task] = yard.write(yard.services.operations.on_racks, yard.actor, ground.site, wanted, RackFilter())
    ground.work()
    assert "no components" in yard.get(task).error.message
    assert yard.read(yard.services.sites.trays, ground.site, TrayFilter()) == []


def test_what_came_past_the_service_goes_behind_what_is_in_its_way(ground, yard):
    first = ground.begin("power_on")
    [held] = yard.worker(first.type, queue=QUEUE).claim(1)
    unasked = yard.submit(first.type, queue=QUEUE, input=first.input)

    ground.work()
    waiting = yard.get(unasked)
    assert (waiting.state, waiting.labels, ground.asked()) == (State.SUSPENDED, first.labels, [])
    with pytest.raises(Conflict, match=first.id):
        ground.begin("power_off")

    yard.settle(held, Done())
    ground.work()
    assert yard.get(unasked).state is State.SUCCEEDED


def test_what_is_no_work_on_a_rack_fails(ground, yard):
    task = yard.submit("rack.power", queue=QUEUE, input={"operation": "dance"})
    ground.work()
    assert (yard.get(task).state, yard.get(task).error.code) == (State.FAILED, "no_plan")
