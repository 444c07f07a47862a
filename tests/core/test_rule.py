"""Rules: what a plan may say, and that it is written as it is read."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from taskyard.core.durations import format_duration, parse_duration
from taskyard.core.errors import Invalid
from taskyard.core.operation import CODES, Operation
from taskyard.core.plan_reader import plan_of
from taskyard.core.rule import check_code
from taskyard.service.rules import builtin_plans

VERIFY = {
    "name": "verify_power",
    "timeout": "5m",
    "poll": "10s",
    "parameters": {"expected_status": "on"},
}


def step(**members):
    return {"component": "Compute", "stage": 1, "action": {"name": "power"}, **members}


def faults(*steps):
    with pytest.raises(Invalid) as refused:
        plan_of({"steps": list(steps)})
    return [fault.pointer for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("text", "length", "again"),
    [
        ("30s", timedelta(seconds=30), "30s"),
        ("15m", timedelta(minutes=15), "15m0s"),
        ("1h30m", timedelta(minutes=90), "1h30m0s"),
        ("500ms", timedelta(milliseconds=500), "500ms"),
        ("1.5s", timedelta(seconds=1.5), "1.5s"),
        ("0", timedelta(0), "0s"),
        ("-2s", timedelta(seconds=-2), "-2s"),
        ("7us", timedelta(microseconds=7), "7µs"),
    ],
)
def test_lengths_are_read_as_go_programs_write_them_and_written_in_one_way(text, length, again):
    assert parse_duration(text) == length
    assert format_duration(length) == again


@pytest.mark.parametrize("text", ["", "5", "s", "1 m", "1d", "--1s", "1h-2m", "99999999h", "1" * 500 + "s"])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(ValueError, match=r"length of time|longer than"):
        parse_duration(text)


@given(some.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365)))
def test_what_is_written_is_read_as_it_was(length):
    assert parse_duration(format_duration(length)) == length


def test_a_plan_is_written_as_it_is_read():
    plan = plan_of(
        {
            "steps": [
                step(stage=7, timeout="20m", retry={"attempts": 3, "first": "1s", "factor": 2, "most": "1m"}),
                step(
                    component="nvswitch", before=[VERIFY], after=[VERIFY], max_parallel=4, delay_after="30s"
                ),
            ]
        }
    )

    assert list(plan.stages()) == [1, 7]
    assert plan_of(plan.document()) == plan


def test_every_step_that_cannot_be_is_named_with_its_place():
    assert faults(step(component="Toaster")) == ["/steps/0/component"]
    assert faults(step(stage=0)) == ["/steps/0/stage"]
    assert faults(step(action=None)) == ["/steps/0/action"]
    assert faults(step(max_parallel=-1)) == ["/steps/0/max_parallel"]
    assert faults(step(timeout="-1s")) == ["/steps/0/timeout"]
    assert faults(step(delay_after="soon")) == ["/steps/0/delay_after"]
    assert faults(step(retry={"attempts": 0, "first": "0s", "factor": 0.5})) == [
        "/steps/0/retry/attempts",
        "/steps/0/retry/first",
        "/steps/0/retry/factor",
    ]
    assert faults(step(), step()) == ["/steps/1"]


@pytest.mark.parametrize(
    ("action", "pointer"),
    [
        ({"name": "dance"}, "name"),
        ({"name": []}, "name"),
        ({"name": "sleep"}, "parameters/duration"),
        ({"name": "sleep", "parameters": {"duration": "x"}}, "parameters/duration"),
        ({**VERIFY, "timeout": "0s"}, "timeout"),
        ({**VERIFY, "poll": None}, "poll"),
        ({**VERIFY, "parameters": {"expected_status": "maybe"}}, "parameters/expected_status"),
        (
            {**VERIFY, "name": "verify_reachable", "parameters": {"component_types": []}},
            "parameters/component_types",
        ),
        ({"name": "power", "parameters": {"operation": "explode"}}, "parameters/operation"),
        ({"name": "power", "parameters": {"operation": {}}}, "parameters/operation"),
        ({"name": "read_power"}, "timeout"),
        ({"name": "wait_bring_up", "timeout": "1m"}, "poll"),
    ],
)
def test_actions_must_be_given_what_they_need(action, pointer):
    assert faults(step(action=action)) == [f"/steps/0/action/{pointer}"]


def test_a_plan_without_steps_may_be_written_down():
    assert plan_of({}).steps == ()


def test_a_code_belongs_to_its_operation():
    check_code(Operation.POWER, "restart")
    with pytest.raises(Invalid, match="no code of power"):
        check_code(Operation.POWER, "upgrade")


def test_there_is_a_plan_for_every_code_but_the_resets():
    without = {"warm_reset", "cold_reset", "expect"}
    assert {code for codes in CODES.values() for code in codes} - {
        code for _, code in builtin_plans()
    } == without


def test_power_goes_up_from_the_shelves_and_down_to_them():
    def order(code):
        return [step.component for step in builtin_plans()[Operation.POWER, code].steps]

    assert order("power_on") == ["PowerShelf", "NVSwitch", "Compute"]
    assert order("power_off") == ["Compute", "NVSwitch", "PowerShelf"]
    assert order("restart") == order("power_off") + order("power_on")
