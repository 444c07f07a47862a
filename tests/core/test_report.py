"""Reports: how far a plan has come."""

from datetime import UTC, datetime

from taskyard.core import report as reports

NOON = datetime(2026, 3, 1, 12, 0, 0, 750_000, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


def planned():
    return reports.planned({2: ["Compute"], 1: ["PowerShelf", "NVSwitch"]}, {"Compute": 4, "NVSwitch": 2})


def test_a_report_mirrors_the_plan_and_skips_what_the_task_does_not_concern():
    assert planned() == {
        "version": 1,
        "stages": [
            {
                "number": 1,
                "status": "pending",
                "steps": [
                    {"component": "PowerShelf", "status": "skipped"},
                    {"component": "NVSwitch", "status": "pending", "total": 2},
                ],
            },
            {
                "number": 2,
                "status": "pending",
                "steps": [{"component": "Compute", "status": "pending", "total": 4}],
            },
        ],
    }


def test_a_stage_that_begins_and_ends_takes_its_steps_along():
    [stage, untouched] = reports.complete(reports.begin(planned(), 1, NOON), 1, LATER)["stages"]

    times = {"started_at": "2026-03-01T12:00:00Z", "finished_at": "2026-03-01T12:05:00Z"}
    assert stage == {
        "number": 1,
        "status": "completed",
        **times,
        "steps": [
            {"component": "PowerShelf", "status": "skipped"},
            {"component": "NVSwitch", "status": "completed", "total": 2, **times},
        ],
    }
    assert untouched["status"] == "pending"


def test_a_failure_names_itself_once_and_leaves_later_stages_pending():
    failed = reports.fail(reports.begin(planned(), 1, NOON), 1, "first", LATER)
    twice = reports.fail(failed, 2, "second", LATER)

    assert [stage["status"] for stage in failed["stages"]] == ["failed", "pending"]
    assert failed["stages"][0]["error"] == failed["stages"][0]["steps"][1]["error"] == "first"
    assert "error" not in failed["stages"][0]["steps"][0]
    assert twice["error"] == "first"


def test_a_stage_that_is_begun_again_keeps_the_time_it_began():
    begun = reports.begin(planned(), 1, NOON)
    assert reports.begin(begun, 1, LATER) == begun


def test_errors_are_cut_at_whole_characters():
    failed = reports.fail(reports.begin(planned(), 2, NOON), 2, "ü" * 1000, LATER)
    assert failed["error"] == "ü" * 256
