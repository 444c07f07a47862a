"""Runs: one operation over many racks, phase by phase."""

import json
import uuid

import pytest

from taskyard.loops.roller import EVERY, IDLE, Roller
from tests.dialects.nico.wire import ORG, inventory

BROKEN = "the switch does not answer"


def create(wire, status=201, **changes):
    body = {
        "siteId": wire.site,
        "name": "Rollout",
        "options": {"maxConcurrentTargets": 1},
        "operation": {"firmware": {"version": "25.03.1"}},
        **changes,
    }
    answer = wire.ask("POST", "/task/run", body=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def options(**more):
    return {"options": {"maxConcurrentTargets": 1, **more}}


PHASES = options(phasePolicy={"equal": {"phaseCount": 2}})
AUTOMATIC = options(phasePolicy={"equal": {"phaseCount": 2}, "autoAdvance": True})


def move(wire, run, what, status=202, **body):
    answer = wire.ask("POST", f"/task/run/{run['id']}/{what}", body={"siteId": wire.site, **body})
    assert answer.status_code == status, answer.text
    return answer.json()


def look(wire, run, **query):
    return wire.get(f"/task/run/{run['id']}", **query).json()


def targets(wire, run, **query):
    return wire.get(f"/task/run/{run['id']}/target", phaseScope="currentAndCompletedPhases", **query).json()


def state(wire, run):
    shown = look(wire, run)
    return shown["status"], shown["statusReason"]


def on(wire):
    """Let what is ready be done, and the run go on."""
    wire.roll()
    wire.work()
    wire.roll()


def broken(wire, *racks):
    wire.hardware.broken = {wire.trays[name]: BROKEN for name in racks}


class TestGoingOn:
    def test_a_run_goes_from_rack_to_rack_to_its_end(self, wire):
        run = create(wire)
        assert (run["status"], run["totalPhases"], run["started"]) == ("Pending", 1, None)

        wire.roll()
        assert [each["status"] for each in targets(wire, run)] == ["Submitted", "Pending"]
        assert state(wire, run) == ("Running", "None")
        on(wire)
        assert [each["status"] for each in targets(wire, run)] == ["Completed", "Submitted"]
        on(wire)

        shown = look(wire, run, includeStats="true")
        assert (shown["status"], bool(shown["finished"])) == ("Completed", True)
        counts = {"completed": 2, "failed": 0, "terminated": 0, "skipped": 0}
        assert shown["stats"]["cumulativePhase"] == {
            "phaseIndex": 0, "selectedTargets": 2, "outcomeCounts": counts,
        }  # fmt: skip
        assert "stats" not in look(wire, run)
        for target in targets(wire, run):
            task = wire.get(f"/task/{target['taskId']}").json()
            assert (task["status"], task["description"]) == ("Succeeded", "API firmware update Rack")

    def test_as_many_racks_as_may_be_are_worked_at_at_once(self, wire):
        run = create(wire, options={"maxConcurrentTargets": 5})
        wire.roll()
        assert [each["status"] for each in targets(wire, run)] == ["Submitted", "Submitted"]

    def test_at_the_end_of_a_phase_it_waits_until_it_is_advanced(self, wire):
        run = create(wire, **PHASES)
        on(wire)
        assert state(wire, run) == ("Paused", "PhaseGate")
        assert [each["phaseIndex"] for each in targets(wire, run)] == [0]

        assert "phase" in move(wire, run, "resume", 412)["message"]
        move(wire, run, "advance", 412, expectedPhaseIndex=2)
        move(wire, run, "advance", 412, expectedPhaseIndex=0)
        assert move(wire, run, "advance", expectedPhaseIndex=1)["status"] == "Running"
        move(wire, run, "advance", 412)

        on(wire)
        assert state(wire, run) == ("Completed", "None")
        current = wire.get(f"/task/run/{run['id']}/target").json()
        ended = wire.get(f"/task/run/{run['id']}/target", phaseScope="completedPhases").json()
        assert ([each["phaseIndex"] for each in current], [each["phaseIndex"] for each in ended]) == (
            [1],
            [0],
        )

    def test_it_may_go_on_by_itself(self, wire):
        run = create(wire, **AUTOMATIC)
        on(wire)
        on(wire)
        assert state(wire, run) == ("Completed", "None")

    def test_what_fails_is_told_in_the_end(self, wire):
        broken(wire, "compute-1")
        run = create(wire)
        on(wire)
        on(wire)
        assert state(wire, run) == ("CompletedWithFailures", "None")
        [failed, _] = targets(wire, run)
        assert (failed["status"], BROKEN in failed["message"]) == ("Failed", True)

        broken(wire, "compute-1", "compute-9")
        everywhere = create(wire)
        on(wire)
        on(wire)
        assert state(wire, everywhere) == ("Failed", "None")

    @pytest.mark.parametrize(
        "gate",
        [
            {"failureCount": {"thresholdCount": 1}},
            {"failureRate": {"thresholdPercent": 50, "scope": "cumulativeRun"}},
        ],
    )
    def test_too_many_failures_stop_it_until_somebody_goes_on_in_spite_of_them(self, wire, gate):
        broken(wire, "compute-1")
        run = create(wire, **options(safetyPolicy={"gates": [gate]}))
        on(wire)

        assert state(wire, run) == ("Paused", "SafetyGate")
        assert [each["status"] for each in targets(wire, run)] == ["Failed", "Pending"]
        assert look(wire, run)["statusMessage"] == "1 of 2 racks have failed"

        move(wire, run, "resume")
        on(wire)
        on(wire)
        assert state(wire, run) == ("CompletedWithFailures", "None")

    def test_failures_below_what_is_borne_do_not_stop_it(self, wire):
        broken(wire, "compute-1")
        run = create(wire, **options(safetyPolicy={"gates": [{"failureRate": {"thresholdPercent": 60}}]}))
        on(wire)
        assert state(wire, run) == ("Running", "None")

    def test_a_busy_rack_is_tried_again_and_the_others_go_on(self, wire, clock):
        busy = wire.running()
        run = create(wire)
        wire.roll()
        [blocked, other] = targets(wire, run)
        assert (blocked["status"], other["status"]) == ("Blocked", "Submitted")
        assert "under way" in blocked["message"]

        wire.work()
        wire.ask("POST", f"/task/{busy}/cancel", body={"siteId": wire.site})
        wire.roll()
        assert targets(wire, run)[0]["status"] == "Blocked"  # its time has not come
        clock.forward(seconds=10)
        on(wire)
        assert state(wire, run) == ("Completed", "None")

    def test_a_rack_that_stays_busy_stops_it(self, wire, clock):
        wire.running()
        retry = {"retryTimeout": "1m", "initialRetryDelay": "20s", "maxRetryDelay": "20s"}
        run = create(wire, **options(conflictPolicy={"retry": retry}))
        on(wire)
        clock.forward(seconds=59)
        wire.roll()
        assert state(wire, run) == ("Running", "None")
        clock.forward(seconds=1)
        wire.roll()
        assert state(wire, run) == ("Paused", "ConflictRetryTimeout")

        assert move(wire, run, "resume")["status"] == "Running"
        wire.roll()
        assert state(wire, run) == ("Running", "None")

    def test_a_rule_that_is_gone_fails_one_rack_after_the_other_as_far_as_may_be(self, wire):
        rule = wire.rule(
            {"componentType": "Compute", "stage": 1, "mainOperation": {"name": "FirmwareControl"}},
            operationType="FirmwareControl",
            operationCode="upgrade",
        )
        gates = {"gates": [{"failureCount": {"thresholdCount": 1}}]}
        firmware = {"firmware": {"version": "1", "ruleId": rule["id"]}}
        run = create(wire, operation=firmware, **options(safetyPolicy=gates))
        wire.ask("DELETE", f"/task/rule/{rule['id']}", query={"siteId": wire.site})

        wire.roll()

        assert state(wire, run) == ("Paused", "SafetyGate")
        assert [each["status"] for each in targets(wire, run)] == ["Failed", "Pending"]

    def test_a_rack_that_is_gone_is_skipped(self, wire):
        from taskyard.service.inventory import read_inventory

        run = create(wire)
        smaller = inventory()
        del smaller["site"][0]["rack"][0]
        wire.yard.write(wire.yard.services.sites.load, read_inventory(smaller))
        on(wire)

        assert [each["status"] for each in targets(wire, run)] == ["Skipped", "Completed"]
        assert state(wire, run) == ("Completed", "None")

    def test_the_loop_carries_on_what_is_open_and_rests_when_nothing_is(self, wire):
        roller = Roller(wire.yard.store, wire.yard.services.rollouts)
        assert roller.tick() == IDLE
        run = create(wire)
        assert roller.tick() == EVERY
        assert state(wire, run) == ("Running", "None")

        move(wire, run, "pause")
        assert roller.tick() == EVERY  # what was begun goes on
        wire.work()
        roller.tick()
        assert roller.tick() == IDLE
        assert [each["status"] for each in targets(wire, run)] == ["Completed", "Pending"]

    def test_one_that_cannot_go_on_holds_up_no_other(self, wire):
        broken_run, run = create(wire), create(wire)
        [number, _] = wire.yard.read(lambda records: records.rollouts.open())
        rollouts = wire.yard.services.rollouts

        class Stumbling:
            def carry_on(self, records, which):
                if which == number:
                    raise ZeroDivisionError
                rollouts.carry_on(records, which)

        with pytest.raises(ZeroDivisionError):
            Roller(wire.yard.store, Stumbling()).tick()

        assert (state(wire, broken_run)[0], state(wire, run)[0]) == ("Pending", "Running")


class TestStopping:
    def test_paused_it_begins_no_more_and_lets_what_runs_go_on(self, wire):
        run = create(wire)
        wire.roll()
        paused = move(wire, run, "pause")
        assert (paused["status"], paused["statusReason"]) == ("Paused", "OperatorPaused")
        assert move(wire, run, "pause")["updated"] == paused["updated"]

        on(wire)
        assert [each["status"] for each in targets(wire, run)] == ["Completed", "Pending"]

        assert move(wire, run, "resume")["status"] == "Running"
        move(wire, run, "resume", 412)
        on(wire)
        assert state(wire, run) == ("Completed", "None")

    def test_one_that_had_not_begun_is_pending_again_when_it_is_resumed(self, wire):
        run = create(wire)
        move(wire, run, "pause")
        wire.roll()
        assert state(wire, run) == ("Paused", "OperatorPaused")
        assert move(wire, run, "resume")["status"] == "Pending"

    def test_canceled_it_ends_with_what_it_has_begun(self, wire):
        run = create(wire, **PHASES)
        wire.roll()
        [begun] = targets(wire, run)

        canceled = move(wire, run, "cancel", reason="changed plan")

        assert (canceled["status"], canceled["statusReason"]) == ("Cancelled", "None")
        assert canceled["statusMessage"] == "changed plan"
        assert canceled["finished"]
        assert wire.get(f"/task/{begun['taskId']}").json()["status"] == "Terminated"
        assert [each["status"] for each in targets(wire, run)] == ["Terminated"]
        assert move(wire, run, "cancel")["updated"] == canceled["updated"]
        move(wire, run, "pause", 412)
        move(wire, run, "resume", 412)
        wire.roll()
        assert look(wire, run) == canceled


class TestPlanning:
    def racks(self, wire, run):
        query = {"phaseScope": "currentAndCompletedPhases"}
        return [each["rackId"] for each in wire.get(f"/task/run/{run['id']}/target", **query).json()]

    def test_a_part_of_the_racks_is_drawn_the_same_for_the_same_seed(self, wire):
        def drawn(seed):
            return self.racks(wire, create(wire, selector={"percentage": {"percent": 50, "seed": seed}}))

        assert drawn("a") == drawn("a")
        assert len(drawn("a")) == 1
        assert {drawn(str(seed))[0] for seed in range(10)} == set(wire.racks.values())

    def test_the_order_may_be_drawn(self, wire):
        def order(seed):
            return self.racks(wire, create(wire, **options(orderingPolicy={"random": {"seed": seed}})))

        assert order("a") == order("a")
        assert len({tuple(order(str(seed))) for seed in range(10)}) == 2

    def test_racks_of_other_runs_are_left_out(self, wire):
        first = create(wire, selector={"percentage": {"percent": 1, "seed": "a"}})
        operation = {"firmware": {"version": "1"}, "excludeRunIds": [first["id"]]}
        [rest] = self.racks(wire, create(wire, operation=operation))
        assert rest not in self.racks(wire, first)

        operation["excludeRunIds"].append(create(wire)["id"])
        assert "no rack" in create(wire, 400, operation=operation)["message"]

    @pytest.mark.parametrize(
        ("policy", "phases"),
        [
            ({"equal": {"phaseCount": 2}}, 2),
            ({"percentage": {"phases": [50, 50]}}, 2),
            ({"count": {"phases": [1]}}, 2),
            ({"count": {"phases": [2]}}, 1),
            ({}, 1),
        ],
    )
    def test_racks_are_divided_into_phases(self, wire, policy, phases):
        assert create(wire, **options(phasePolicy=policy))["totalPhases"] == phases

    @pytest.mark.parametrize(
        "changes",
        [
            {"siteId": ""},
            {"name": ""},
            {"name": "x" * 1_000},
            {"options": None},
            {"operation": {}},
            {"operation": {"firmware": {}}},
            {"operation": {"firmware": {"version": "1", "ruleId": "x"}}},
            {"operation": {"firmware": {"version": "1", "subTargets": ["toaster"]}}},
            {"operation": {"firmware": {"version": "1"}, "excludeRunIds": ["x"]}},
            {"selector": {"percentage": {"percent": 0}}},
            {"selector": {"percentage": {"percent": 101}}},
            {"options": {"maxConcurrentTargets": 0}},
            {"options": {"maxConcurrentTargets": -1}},
            options(phasePolicy={"equal": {"phaseCount": 1}, "count": {"phases": [1]}}),
            options(phasePolicy={"equal": {"phaseCount": 3}}),
            options(phasePolicy={"equal": {}}),
            options(phasePolicy={"count": {"phases": [3]}}),
            options(phasePolicy={"count": {"phases": [0]}}),
            options(phasePolicy={"percentage": {"phases": [50, 40]}}),
            options(phasePolicy={"percentage": {"phases": [1, 99]}}),
            options(safetyPolicy={"gates": [{}]}),
            options(
                safetyPolicy={
                    "gates": [{"failureRate": {"thresholdPercent": 1}, "failureCount": {"thresholdCount": 1}}]
                }
            ),
            options(safetyPolicy={"gates": [{"failureRate": {"thresholdPercent": 0}}]}),
            options(safetyPolicy={"gates": [{"failureCount": {"thresholdCount": 1, "scope": "today"}}]}),
            options(conflictPolicy={"retry": {"retryTimeout": "soon"}}),
            options(conflictPolicy={"retry": {"initialRetryDelay": "-1s"}}),
        ],
    )
    def test_a_run_that_cannot_be_is_refused_before_anything_is_written(self, wire, changes):
        refusal = create(wire, 400, **changes)
        assert (refusal["source"], refusal["data"]) == ("nico", None)
        assert wire.get("/task/run").json() == []


class TestReading:
    def test_runs_are_listed_newest_first_and_by_status(self, wire):
        runs = [create(wire)["id"] for _ in range(3)]
        move(wire, {"id": runs[0]}, "pause")

        def ids(**query):
            return [each["id"] for each in wire.get("/task/run", **query).json()]

        assert ids() == ids(operationType="FirmwareControl") == runs[::-1]
        assert ids(status="Paused") == [runs[0]]
        assert ids(operationType="PowerControl") == []
        assert ids(pageSize="1", pageNumber="2") == [runs[1]]
        page = json.loads(wire.get("/task/run", pageSize="1").headers["x-pagination"])
        assert page == {"pageNumber": 1, "pageSize": 1, "total": 3, "orderBy": None}

    def test_targets_are_listed_by_status(self, wire):
        run = create(wire)
        wire.roll()
        assert len(targets(wire, run, status="Submitted")) == 1
        assert targets(wire, run, status="Claimed") == []
        assert len(targets(wire, run, pageSize="1", pageNumber="2")) == 1

    @pytest.mark.parametrize(
        ("path", "query", "message"),
        [
            ("/task/run", {"status": "Sleeping"}, "status must be one of"),
            ("/task/run", {"operationType": "Nope"}, "operationType must be one of"),
            ("/task/run", {"colour": "red"}, "Unknown query parameter"),
            ("/task/run/{id}", {"includeStats": "maybe"}, "Failed to parse request data"),
            ("/task/run/{id}/target", {"phaseScope": "none"}, "phaseScope must be one of"),
            ("/task/run/{id}/target", {"status": "Sleeping"}, "status must be one of"),
            ("/task/run/nope", {}, "Invalid Run ID specified in URL"),
        ],
    )
    def test_queries_that_cannot_be_are_refused(self, wire, path, query, message):
        answer = wire.get(path.format(id=uuid.uuid4()), **query)
        assert answer.status_code == 400
        assert answer.json()["message"].startswith(message)

    def test_who_may_not_and_what_is_not_there(self, wire, mint):
        run = create(wire)
        tenant = mint(f"{ORG}:TENANT_ADMIN", sub="t")
        site = {"siteId": wire.site}
        for what in ("pause", "resume", "advance", "cancel"):
            path = f"/task/run/{run['id']}/{what}"
            assert wire.ask("POST", path, body=site, token=tenant).status_code == 403
            assert wire.ask("POST", path, body={}).json()["message"] == "siteId is required"
            assert wire.ask("POST", path.replace(run["id"], "x"), body=site).status_code == 400
            unknown = wire.ask("POST", f"/task/run/{uuid.uuid4()}/{what}", body=site)
            assert (unknown.status_code, unknown.json()["message"]) == (404, "Run not found")
        assert wire.get(f"/task/run/{uuid.uuid4()}").status_code == 404
        assert wire.get(f"/task/run/{run['id']}/target", siteId=wire.no_flow).status_code == 412
        stranger = mint("stranger:PROVIDER_ADMIN", sub="s")
        foreign = {"siteId": wire.foreign}
        answer = wire.ask("GET", f"/task/run/{run['id']}", token=stranger, org="stranger", query=foreign)
        assert answer.status_code == 404


def test_every_word_of_a_run_has_one_of_the_wire():
    from taskyard.core.rollout import Outcome, Status, Why
    from taskyard.dialects.nico.render_runs import REASONS, STATUSES, TARGETS

    assert (STATUSES.keys(), REASONS.keys(), TARGETS.keys()) == (set(Status), set(Why), set(Outcome))
