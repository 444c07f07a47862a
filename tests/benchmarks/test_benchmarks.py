"""The benchmark itself runs, and judges as it says."""

import json

from benchmarks import run
from benchmarks.chart import chart
from benchmarks.goals import GOALS, judged, verdict
from benchmarks.profile import profile
from benchmarks.scenario import CONTENDERS, facts


def test_the_scenario_runs_from_end_to_end(capsys):
    assert run.main(["--tiny", "--only", "taskyard_sqlite,raw.sqlite"]) == 0

    said = capsys.readouterr().out
    assert "| taskyard_sqlite | yes |" in said
    assert "missing: taskyard_sqlite" not in said
    assert "SQLite, end to end in bulk ÷ raw loop" in said


def test_a_contender_that_is_not_installed_is_listed_with_the_reason(capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.scenario.find_spec", lambda _: None)

    assert run.main(["--tiny", "--only", "pgqueuer"]) == 0

    assert (
        "missing: not installed: pgqueuer, asyncpg; pip install -r benchmarks/peers.txt"
        in capsys.readouterr().out
    )


def test_every_contender_says_what_it_needs_keeps_and_was_set_to():
    for name in CONTENDERS:
        about = facts(name)
        assert {"STORE", "NEEDS", "KEEPS"} <= set(about), name


def test_a_goal_is_not_met_met_or_reached():
    [goal] = [goal for goal in GOALS if goal.number == "1"]

    for loop, said in ((100.0, "not met"), (50.0, "met"), (30.0, "reached")):
        [value] = [
            v
            for g, v in judged({"taskyard_sqlite.end_to_end_bulk": 20.0, "raw.sqlite.loop": loop})
            if g is goal
        ]
        assert verdict(goal, value) == said
    assert verdict(goal, None) == "not measured"


def test_the_chart_shows_each_by_its_name():
    picture = chart("Drained", [("ours", 12_000.0, "ours"), ("a & b", 900.0, "no")])

    assert "a &amp; b" in picture
    assert "12,000" in picture


def test_what_is_kept_names_no_machine():
    kept = json.loads(run.RESULTS.read_text())["machine"]

    assert set(kept) == {"date", "processor", "cores", "memory_gib", "system", "python"}


def test_the_profile_spends_something_on_every_move():
    assert {move for move, _ in profile(2_000)} == {"submit", "claim", "settle"}
