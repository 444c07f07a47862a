"""Rollouts → this wire's runs."""

from collections.abc import Mapping
from typing import Any, Final

from taskyard.core.rollout import Outcome, Rollout, Status, Target, Why
from taskyard.dialects.nico.render import OPERATIONS, time
from taskyard.service.rollouts import Stats

#: Total, like those below.
STATUSES: Final[Mapping[Status, str]] = {
    Status.PENDING: "Pending",
    Status.RUNNING: "Running",
    Status.PAUSED: "Paused",
    Status.COMPLETED: "Completed",
    Status.CANCELED: "Cancelled",
    Status.FAILED: "Failed",
    Status.MIXED: "CompletedWithFailures",
}
REASONS: Final[Mapping[Why, str]] = {
    Why.OPERATOR: "OperatorPaused",
    Why.PHASE: "PhaseGate",
    Why.SAFETY: "SafetyGate",
    Why.CONFLICT: "ConflictRetryTimeout",
}
TARGETS: Final[Mapping[Outcome, str]] = {
    Outcome.PENDING: "Pending",
    Outcome.BLOCKED: "Blocked",
    Outcome.SUBMITTED: "Submitted",
    Outcome.COMPLETED: "Completed",
    Outcome.FAILED: "Failed",
    Outcome.TERMINATED: "Terminated",
    Outcome.SKIPPED: "Skipped",
}


def run(rollout: Rollout, stats: tuple[Stats, Stats] | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": rollout.id,
        "name": rollout.name,
        **({"description": rollout.description} if rollout.description else {}),
        "operationType": OPERATIONS[rollout.operation],
        "operationCode": rollout.code,
        "status": STATUSES[rollout.status],
        "statusReason": "None" if rollout.why is None else REASONS[rollout.why],
        **({"statusMessage": rollout.message} if rollout.message else {}),
        "totalPhases": rollout.phases,
        "created": time(rollout.created_at),
        "updated": time(rollout.updated_at),
        "started": None if rollout.started_at is None else time(rollout.started_at),
        "finished": None if rollout.finished_at is None else time(rollout.finished_at),
    }
    if stats is not None:
        shown["stats"] = {"currentPhase": _stats(stats[0]), "cumulativePhase": _stats(stats[1])}
    return shown


def _stats(stats: Stats) -> dict[str, Any]:
    counted = (Outcome.COMPLETED, Outcome.FAILED, Outcome.TERMINATED, Outcome.SKIPPED)
    return {
        "phaseIndex": stats.phase,
        "selectedTargets": stats.targets,
        "outcomeCounts": {outcome.value: stats.outcomes.get(outcome, 0) for outcome in counted},
    }


def target(target: Target, run: str) -> dict[str, Any]:
    return {
        "id": target.id,
        "runId": run,
        "rackId": target.rack,
        "sequenceIndex": target.sequence,
        "phaseIndex": target.phase,
        "taskId": target.task,
        "status": TARGETS[target.outcome],
        **({"message": target.message} if target.message else {}),
        "created": time(target.created_at),
        "updated": time(target.updated_at),
    }
