"""What a request says of a run over many racks → a rollout; what is wrong is the refusal's message, and ``data`` stays null."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from taskyard.core.durations import parse_duration
from taskyard.core.operation import Operation
from taskyard.core.rollout import (
    Gate,
    Outcome,
    Patience,
    Policy,
    Status,
    equal_phases,
    phases_by_count,
    phases_by_percent,
)
from taskyard.dialects.nico.bodies import (
    CreateRunBody,
    GateBody,
    PhasesBody,
    RunFirmwareBody,
    RunOptionsBody,
    SelectorBody,
)
from taskyard.dialects.nico.parse import uuid_of
from taskyard.dialects.nico.refuse import Said
from taskyard.dialects.nico.render_runs import STATUSES, TARGETS
from taskyard.http.dialect import Call
from taskyard.service.operations import Wanted
from taskyard.service.rollouts import NewRollout

SUB_TARGETS: Final = ("bmc", "cpld", "bios", "nvos", "pmc", "psu", "dpu")
#: Whether a gate counts the whole run, by the word of its scope.
SCOPES: Final = {"currentPhase": False, "cumulativeRun": True}
#: Whether the phases that have ended, and the one that is under way, are listed.
PHASE_SCOPES: Final = {
    "currentPhase": (False, True),
    "completedPhases": (True, False),
    "currentAndCompletedPhases": (True, True),
}
MOST: Final = 2**31 - 1


def new_run(asked: CreateRunBody) -> NewRollout:
    """Raises Said with the first thing that is wrong."""
    _need(bool(asked.site_id), "siteId is required")
    _need(bool(asked.name), "name is required")
    _need(asked.options is not None, "options is required")
    firmware = asked.operation.firmware if asked.operation is not None else None
    _need(firmware is not None, "operation.firmware is required")
    assert asked.options is not None
    assert asked.operation is not None
    assert firmware is not None
    without = asked.operation.exclude_run_ids or []
    _need(all(uuid_of(id) is not None for id in without), "excludeRunIds must hold valid UUIDs")
    phasing, is_automatic = _phasing(asked.options.phase_policy)
    percent, seed = _selected(asked.selector)
    shuffle = asked.options.ordering_policy.random if asked.options.ordering_policy is not None else None
    return NewRollout(
        name=asked.name or "",
        description=asked.description or "",
        wanted=_wanted(firmware),
        policy=_policy(asked.options, is_automatic=is_automatic),
        percent=percent,
        percent_seed=seed,
        is_shuffled=shuffle is not None,
        shuffle_seed=None if shuffle is None else _seed(shuffle.seed),
        without=[uuid_of(id) or "" for id in without],
        phasing=phasing,
    )


def _need(is_so: bool, message: str) -> None:
    if not is_so:
        raise Said(400, message)


def _wanted(firmware: RunFirmwareBody) -> Wanted:
    _need(bool(firmware.version), "operation.firmware.version is required")
    if firmware.rule_id:
        _need(uuid_of(firmware.rule_id) is not None, "operation.firmware.ruleId must be a valid UUID")
    targets = firmware.sub_targets or []
    for target in targets:
        _need(
            target in SUB_TARGETS, f"operation.firmware.subTargets must be some of {', '.join(SUB_TARGETS)}"
        )
    return Wanted(
        operation=Operation.FIRMWARE,
        code="upgrade",
        description="API firmware update Rack",
        rule=uuid_of(firmware.rule_id) if firmware.rule_id else None,
        version=firmware.version,
        targets=tuple(targets),
        heedless=bool(firmware.override_readiness_check),
        origin="nico",
    )


def _selected(selector: SelectorBody | None) -> tuple[int, str | None]:
    percentage = selector.percentage if selector is not None else None
    if percentage is None:
        return 100, None
    _need(1 <= (percentage.percent or 0) <= 100, "selector.percentage.percent must be between 1 and 100")
    return percentage.percent or 0, _seed(percentage.seed)


def _seed(seed: str | None) -> str | None:
    _need(len(seed or "") <= 200, "a seed has at most 200 characters")
    return seed or None


def _policy(options: RunOptionsBody, *, is_automatic: bool) -> Policy:
    most = options.max_concurrent_targets or 0
    _need(1 <= most <= MOST, "options.maxConcurrentTargets must be greater than zero")
    gates = (options.safety_policy.gates or []) if options.safety_policy is not None else []
    retry = options.conflict_policy.retry if options.conflict_policy is not None else None
    usual = Patience()
    patience = usual
    if retry is not None:
        patience = Patience(
            total=_length(retry.retry_timeout, "retryTimeout", usual.total),
            first=_length(retry.initial_retry_delay, "initialRetryDelay", usual.first),
            most=_length(retry.max_retry_delay, "maxRetryDelay", usual.most),
        )
    return Policy(
        most_at_once=most,
        is_automatic=is_automatic,
        gates=tuple(_gate(gate) for gate in gates),
        patience=patience,
    )


def _length(text: str | None, name: str, usual: timedelta) -> timedelta:
    """Return a length of time; nothing, and nothing at all, are the usual one."""
    if not text:
        return usual
    try:
        length = parse_duration(text)
    except ValueError:
        raise Said(400, f"options.conflictPolicy.retry.{name} is not a valid duration") from None
    _need(length > timedelta(0), f"options.conflictPolicy.retry.{name} must be greater than zero")
    return length


def _gate(gate: GateBody) -> Gate:
    rate, count = gate.failure_rate, gate.failure_count
    _need(
        (rate is None) != (count is None), "a safety gate must have exactly one of failureRate, failureCount"
    )
    scope = (rate or count).scope or "currentPhase"  # type: ignore[union-attr]
    _need(scope in SCOPES, f"scope must be one of [{', '.join(SCOPES)}]")
    if rate is not None:
        _need(
            1 <= (rate.threshold_percent or 0) <= 100,
            "failureRate.thresholdPercent must be between 1 and 100",
        )
        return Gate(percent=rate.threshold_percent, of_all=SCOPES[scope])
    assert count is not None
    _need(1 <= (count.threshold_count or 0) <= MOST, "failureCount.thresholdCount must be greater than zero")
    return Gate(count=count.threshold_count, of_all=SCOPES[scope])


def _phasing(policy: PhasesBody | None) -> tuple[Callable[[int], list[int]], bool]:
    def whole(targets: int) -> list[int]:
        return [targets]

    if policy is None:
        return whole, False
    given = [each for each in (policy.equal, policy.percentage, policy.count) if each is not None]
    _need(len(given) <= 1, "at most one of phasePolicy.equal, percentage, count may be set")
    is_automatic = bool(policy.auto_advance)
    if policy.equal is not None:
        phases = policy.equal.phase_count or 0
        _need(1 <= phases <= MOST, "phasePolicy.equal.phaseCount must be greater than zero")
        return partial(_equal, phases=phases), is_automatic
    if policy.percentage is not None:
        percents = policy.percentage.phases or []
        _need(
            bool(percents) and all(1 <= each <= 100 for each in percents),
            "phasePolicy.percentage.phases must hold percentages between 1 and 100",
        )
        _need(sum(percents) == 100, "phasePolicy.percentage.phases must add up to 100")
        return partial(phases_by_percent, percents=percents), is_automatic
    if policy.count is not None:
        counts = policy.count.phases or []
        _need(
            bool(counts) and all(1 <= each <= MOST for each in counts),
            "phasePolicy.count.phases must hold numbers greater than zero",
        )
        return partial(phases_by_count, counts=counts), is_automatic
    return whole, is_automatic


def _equal(targets: int, phases: int) -> list[int]:
    _need(phases <= targets, f"phaseCount {phases} exceeds the {targets} selected targets")
    return equal_phases(targets, phases)


# -- queries ---------------------------------------------------------------------------------------------------------------

_BY_STATUS: Final = {word: status for status, word in STATUSES.items()}
#: A target is claimed and submitted at once here, so nobody ever sees it claimed.
NEVER: Final = ("Claimed",)
_BY_TARGET: Final = {word: outcome for outcome, word in TARGETS.items()}


def run_status(call: Call) -> Status | None:
    word = call.query.get("status")
    _need(not word or word in _BY_STATUS, f"status must be one of [{', '.join(_BY_STATUS)}]")
    return _BY_STATUS[word] if word else None


def target_status(call: Call) -> Outcome | str | None:
    """Return which outcome is asked for; the word itself for one that is known and that no target here ever has."""
    word = call.query.get("status")
    known = (*_BY_TARGET, *NEVER)
    _need(not word or word in known, f"status must be one of [{', '.join(known)}]")
    return _BY_TARGET.get(word, word) if word else None


def phase_scope(call: Call) -> tuple[bool, bool]:
    """Return whether the phases that have ended, and the one that is under way, are asked for."""
    word = call.query.get("phaseScope") or "currentPhase"
    _need(word in PHASE_SCOPES, f"phaseScope must be one of [{', '.join(PHASE_SCOPES)}]")
    return PHASE_SCOPES[word]
