"""A handful of each of the drills that ``python -m tests.chaos.kills`` does by the hundred: every promise is kept."""

import pytest

from tests.chaos import kills
from tests.chaos.kills import Result


@pytest.mark.parametrize(
    "drill",
    [
        lambda: kills.kill_workers(4),
        lambda: kills.kill_server(1),
        lambda: kills.stop_workers(2),
        lambda: kills.cut_postgres(3),
    ],
    ids=["workers_are_killed", "the_server_is_killed", "workers_are_stopped", "connections_are_cut"],
)
def test_under_fire_nothing_acknowledged_is_lost_and_nothing_is_settled_twice(drill):
    result = drill()

    assert (result.lost, result.twice, result.broken) == (0, 0, [])
    assert result.acknowledged > 10
    assert result.recovered


@pytest.mark.parametrize("isolation", [None, "process"])
def test_a_handler_that_segfaults_fails_and_what_does_no_harm_is_done(isolation):
    result = kills.bad_handlers("segfault", "segfault", None, isolation=isolation, tasks=1)

    assert (result.lost, result.twice, result.broken) == (0, 0, [])


def test_a_promise_that_broke_is_told():
    result = Result("a drill", 1, 10, 0, 0, 3, [0.5], 1.0)
    assert result.kept
    assert not Result("a drill", 1, 10, 1, 0, 3, [0.5], 1.0).kept
    assert not Result("a drill", 1, 10, 0, 1, 3, [0.5], 1.0).kept
    assert not Result("a drill", 1, 10, 0, 0, 3, [0.5], 1.0, ["it broke"]).kept
