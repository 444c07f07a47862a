"""
The report of a plan: how far each stage and step has come. Pure: every function returns a new document, which is JSON.

    {"version": 1, "stages": [{"number", "status", "started_at", "finished_at", "error",
                               "steps": [{"component", "status", "total", "started_at", "finished_at", "error"}]}], "error"}

Statuses are ``pending running completed failed skipped``; times are RFC 3339 in UTC, to the second; what is not known is left out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

Report = dict[str, Any]

VERSION: Final = 1
#: An error is a sentence, not a log: longer ones are cut, so that a report stays small enough for lists.
MAX_ERROR_BYTES: Final = 512


def planned(stages: Mapping[int, Sequence[str]], totals: Mapping[str, int]) -> Report:
    """
    Return the report of a plan that is about to begin.

    Args:
        stages: The components of each stage's steps, in the plan's order.
        totals: How many components of each kind the task concerns; steps without any are skipped.
    """
    return {
        "version": VERSION,
        "stages": [
            {
                "number": number,
                "status": "pending",
                "steps": [_step(component, totals.get(component, 0)) for component in components],
            }
            for number, components in sorted(stages.items())
        ],
    }


def _step(component: str, total: int) -> dict[str, Any]:
    if not total:
        return {"component": component, "status": "skipped"}
    return {"component": component, "status": "pending", "total": total}


def begin(report: Report, number: int, at: datetime) -> Report:
    """Return *report* with stage *number* and its pending steps running; one that runs already (a second attempt) is left."""
    started = {"started_at": _time(at)}
    return _staged(
        report,
        number,
        lambda stage: {"started_at": started["started_at"], **stage, "status": "running"},
        lambda step: {**step, "status": "running", **started} if step["status"] == "pending" else step,
    )


def complete(report: Report, number: int, at: datetime) -> Report:
    """Return *report* with stage *number* and its running steps completed."""
    ended = {"status": "completed", "finished_at": _time(at)}
    return _staged(
        report,
        number,
        lambda stage: {**stage, **ended},
        lambda step: {**step, **ended} if step["status"] == "running" else step,
    )


def fail(report: Report, number: int, error: str, at: datetime) -> Report:
    """Return *report* with stage *number* failed: its running steps with it, for how far they came is not known."""
    ended = {"status": "failed", "finished_at": _time(at), "error": cut(error)}
    failed = _staged(
        report,
        number,
        lambda stage: {**stage, **ended},
        lambda step: {**step, **ended} if step["status"] == "running" else step,
    )
    return {**failed, "error": report.get("error") or ended["error"]}


def is_completed(report: Report, number: int) -> bool:
    return any(stage["number"] == number and stage["status"] == "completed" for stage in report["stages"])


def cut(error: str) -> str:
    """Return *error* as at most ``MAX_ERROR_BYTES`` of UTF-8, whole characters only."""
    return error.encode()[:MAX_ERROR_BYTES].decode(errors="ignore")


def _staged(report: Report, number: int, stage_of: Any, step_of: Any) -> Report:
    stages = [
        {**stage_of(stage), "steps": [step_of(step) for step in stage["steps"]]}
        if stage["number"] == number
        else stage
        for stage in report["stages"]
    ]
    return {**report, "stages": stages}


def _time(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat().replace("+00:00", "Z")
