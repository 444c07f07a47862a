"""Rollouts, and what has become of each of their racks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from taskyard.core.operation import Operation
from taskyard.core.rollout import Outcome, Policy, Rollout, Status, Target, Why
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.values import from_json, json_text, micros, moment

#: More racks than any site has.
ALL = 1_000_000


class RolloutRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(
        self,
        id: str,
        organisation: int,
        site: int,
        *,
        name: str,
        description: str,
        operation: Operation,
        code: str,
        wanted: Mapping[str, Any],
        policy: Policy,
        phases: int,
        actor: str,
        now: datetime,
    ) -> int:
        row = self._connection.row(
            "insert_rollout",
            id=id,
            organisation=organisation,
            site=site,
            name=name,
            description=description,
            operation=operation.value,
            code=code,
            wanted=json_text(dict(wanted)),
            policy=json_text(policy.document()),
            phases=phases,
            actor=actor,
            now=to_micros(now),
        )
        assert row is not None
        return int(row[0])

    def insert_targets(
        self, rollout: int, targets: Sequence[tuple[str, str, int, int]], now: datetime
    ) -> None:
        """Add racks, given as (id, rack, place in the whole, phase)."""
        self._connection.rows_for_each(
            "insert_targets",
            [
                {
                    "id": id,
                    "rollout": rollout,
                    "rack": rack,
                    "sequence": sequence,
                    "phase": phase,
                    "now": to_micros(now),
                }
                for id, rack, sequence, phase in targets
            ],
        )

    def get(self, site: int, id: str) -> Rollout | None:
        row = self._connection.row("get_rollout", site=site, id=id)
        return _rollout_of(row) if row else None

    def lock(self, number: int) -> Rollout | None:
        """Read a rollout and keep anyone else from carrying it on or changing it until the transaction ends."""
        self._connection.row("lock_rollout", number=number)
        row = self._connection.row("get_rollout_by_number", number=number)
        return _rollout_of(row) if row else None

    def search(
        self, site: int, status: Status | None, operation: Operation | None, *, limit: int, offset: int
    ) -> tuple[list[Rollout], int]:
        """Return rollouts, newest first, and how many there are in all."""
        values: dict[str, Value] = {"site": site}
        conditions = []
        if status is not None:
            conditions.append("rollouts_in")
            values["status"] = status.value
        if operation is not None:
            conditions.append("rollouts_of")
            values["operation"] = operation.value
        rows = self._connection.rows("list_rollouts", *conditions, limit=limit, offset=offset, **values)
        count = self._connection.row("count_rollouts", *conditions, **values)
        return [_rollout_of(row) for row in rows], int(count[0]) if count else 0

    def open(self) -> list[int]:
        """Return the numbers of those that may have to be carried on, whoever's they are."""
        return [row[0] for row in self._connection.rows("open_rollouts")]

    def update(self, rollout: Rollout) -> None:
        self._connection.run(
            "update_rollout",
            number=rollout.number,
            status=rollout.status.value,
            why=None if rollout.why is None else rollout.why.value,
            message=rollout.message,
            phase=rollout.phase,
            accepted=rollout.accepted,
            now=to_micros(rollout.updated_at),
            started_at=micros(rollout.started_at),
            finished_at=micros(rollout.finished_at),
        )

    def targets(
        self,
        rollout: int,
        *,
        least: int | None = None,
        most: int | None = None,
        outcome: Outcome | None = None,
        limit: int = ALL,
        offset: int = 0,
    ) -> tuple[list[Target], int]:
        """Return racks of the phases from *least* to *most*, in their order, and how many there are in all."""
        values: dict[str, Value] = {"rollout": rollout}
        conditions = []
        if least is not None:
            conditions.append("targets_from_phase")
            values["least"] = least
        if most is not None:
            conditions.append("targets_to_phase")
            values["most"] = most
        if outcome is not None:
            conditions.append("targets_that_are")
            values["outcome"] = outcome.value
        rows = self._connection.rows("list_targets", *conditions, limit=limit, offset=offset, **values)
        count = self._connection.row("count_targets", *conditions, **values)
        return [_target_of(row) for row in rows], int(count[0]) if count else 0

    def outcomes(self, rollout: int) -> dict[tuple[int, Outcome], int]:
        """Return how many racks of each phase have come to what."""
        rows = self._connection.rows("count_outcomes", rollout=rollout)
        return {(phase, Outcome(outcome)): count for phase, outcome, count in rows}

    def update_target(self, target: Target) -> None:
        self._connection.run(
            "update_target",
            number=target.number,
            task=target.task,
            outcome=target.outcome.value,
            message=target.message,
            tries=target.tries,
            blocked_at=micros(target.blocked_at),
            retry_at=micros(target.retry_at),
            now=to_micros(target.updated_at),
        )

    def racks(self, site: int, ids: Sequence[str]) -> set[str]:
        """Return the racks of the rollouts *ids* of a site."""
        return {row[0] for row in self._connection.rows("racks_of_rollouts", site=site, ids=list(ids))}


def _rollout_of(row: Row) -> Rollout:
    (number, id, organisation, site, name, description, operation, code, wanted, policy, status, why, message, phases, phase,
     accepted, actor, created_at, updated_at, started_at, finished_at) = row  # fmt: skip
    return Rollout(
        number=number,
        id=id,
        organisation=organisation,
        site=site,
        name=name,
        description=description,
        operation=Operation(operation),
        code=code,
        wanted=from_json(wanted),
        policy=Policy.of(from_json(policy)),
        status=Status(status),
        why=None if why is None else Why(why),
        message=message,
        phases=phases,
        phase=phase,
        accepted=accepted,
        actor=actor,
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
        started_at=moment(started_at),
        finished_at=moment(finished_at),
    )


def _target_of(row: Row) -> Target:
    (
        number,
        id,
        rack,
        sequence,
        phase,
        task,
        outcome,
        message,
        tries,
        blocked_at,
        retry_at,
        created_at,
        updated_at,
    ) = row
    return Target(
        number=number,
        id=id,
        rack=rack,
        sequence=sequence,
        phase=phase,
        task=task,
        outcome=Outcome(outcome),
        message=message,
        tries=tries,
        blocked_at=moment(blocked_at),
        retry_at=moment(retry_at),
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
    )
