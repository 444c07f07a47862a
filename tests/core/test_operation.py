"""Which operations may not be under way on one rack together."""

import itertools

import pytest

from taskyard.core.operation import Kind, Operation, RackWork, conflict

COMPUTE, SWITCH, SHELF = Kind.COMPUTE, Kind.NVSWITCH, Kind.POWER_SHELF
WHOLE = {COMPUTE: ["c1", "c2"], SWITCH: ["n1"], SHELF: ["p1"]}


def work(operation, components, rack="r1"):
    return RackWork(operation=operation, code="x", rack=rack, site="s", components=components)


@pytest.mark.parametrize(
    ("one", "other", "conflicts"),
    [
        (("power", WHOLE), ("power", {COMPUTE: ["c1"]}), True),
        (("power", WHOLE), ("firmware", {SWITCH: ["n1"]}), True),
        (("power", {SHELF: ["p1"]}), ("firmware", {COMPUTE: ["c1"]}), True),
        (("power", {COMPUTE: ["c1"]}), ("power", {COMPUTE: ["c1", "c2"]}), True),
        (("power", {COMPUTE: ["c1"]}), ("power", {COMPUTE: ["c2"]}), False),
        (("power", {COMPUTE: ["c1"]}), ("power", {SWITCH: ["n1"]}), False),
        (("firmware", WHOLE), ("firmware", {COMPUTE: ["c2"]}), True),
        (("firmware", {SHELF: ["p1"]}), ("firmware", {COMPUTE: ["c1"]}), False),
        (("expect", WHOLE), ("power", WHOLE), False),
        (("expect", WHOLE), ("bring_up", WHOLE), True),
        (("bring_up", {COMPUTE: ["c1"]}), ("power", {COMPUTE: ["c2"]}), True),
        (("bring_up", WHOLE), ("bring_up", WHOLE), True),
        (("decommission", WHOLE), ("expect", WHOLE), True),
    ],
)
def test_who_came_first_does_not_matter(one, other, conflicts):
    one, other = (work(Operation(operation), components) for operation, components in (one, other))
    assert conflict(one, other) is conflict(other, one) is conflicts


def test_racks_are_strangers_to_each_other():
    for one, other in itertools.product(Operation, repeat=2):
        assert not conflict(work(one, WHOLE), work(other, WHOLE, rack="r2"))


def test_work_is_written_as_it_is_read():
    whole = RackWork(
        operation=Operation.FIRMWARE,
        code="upgrade",
        rack="r1",
        site="s",
        components={COMPUTE: ("c1",)},
        version="2",
        targets=("bmc",),
        heedless=True,
    )
    assert RackWork.of(whole.document()) == whole
    for document in (
        None,
        [],
        {},
        {**whole.document(), "operation": "dance"},
        {**whole.document(), "components": 5},
    ):
        with pytest.raises(ValueError, match=r"rack|Operation"):
            RackWork.of(document)
