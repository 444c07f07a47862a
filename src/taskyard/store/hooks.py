"""Hooks and their deliveries. What is to be delivered is written with the events that cause it, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from taskyard.core.hook import Answer, Delivery, DeliveryState, Hook, wants
from taskyard.core.task import Json
from taskyard.core.times import from_micros, span_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.values import from_json, json_text, micros, moment, period


class HookRecords:
    """
    Args:
        new_id: Makes the ids of deliveries: UUIDv7 text.
    """

    def __init__(self, connection: Connection, new_id: Callable[[], str]) -> None:
        self._connection = connection
        self._new_id = new_id

    def insert(self, hook: Hook) -> Hook:
        """Add a hook; return it with its number. ``hook.number`` is ignored."""
        row = self._connection.row("insert_hook", id=hook.id, actor=hook.actor, **_columns(hook))
        assert row is not None
        return replace(hook, number=row[0])

    def update(self, hook: Hook) -> bool:
        return bool(self._connection.run("update_hook", id=hook.id, **_columns(hook)))

    def get(self, organisation: int, id: str) -> Hook | None:
        row = self._connection.row("get_hook", organisation=organisation, id=id)
        return _hook_of(row) if row else None

    def lock(self, organisation: int, id: str) -> Hook | None:
        row = self._connection.row("lock_hook", organisation=organisation, id=id)
        return _hook_of(row) if row else None

    def all(
        self,
        organisation: int,
        *,
        queue: str | None = None,
        wire: str | None = None,
        number: int | None = None,
        limit: int,
    ) -> list[Hook]:
        """Return the hooks of an organisation, the oldest first."""
        conditions: list[str] = []
        values: dict[str, Value] = {}
        if queue is not None:
            conditions.append("hook_of_queue")
            values["queue"] = queue
        if wire is not None:
            conditions.append("hook_of_wire")
            values["wire"] = wire
        if number is not None:
            conditions.append("hook_numbered")
            values["number"] = number
        rows = self._connection.rows(
            "list_hooks", *conditions, organisation=organisation, limit=limit, **values
        )
        return [_hook_of(row) for row in rows]

    def by_number(self, numbers: Sequence[int]) -> dict[int, Hook]:
        rows = self._connection.rows("hooks_by_number", numbers=list(numbers)) if numbers else []
        return {hook.number: hook for hook in map(_hook_of, rows)}

    def delete(self, organisation: int, id: str) -> bool:
        return bool(self._connection.run("delete_hook", organisation=organisation, id=id))

    # -- deliveries ------------------------------------------------------------------------------------------------------------

    def cause(self, events: Sequence[Mapping[str, Value]], now: Callable[[], datetime]) -> bool:
        """Write a delivery for each of *events*, rows of the log, and each hook that wants it; say whether there is any."""
        if not events:
            return False
        hooks = self._connection.rows(
            "hooks_for",
            organisations=sorted({int(str(event["organisation"])) for event in events}),
            queues=sorted({str(event["queue"]) for event in events if event["queue"] is not None}),
        )
        if not hooks:
            return False
        told = [(*hook[:2], from_json(hook[2]), *hook[3:]) for hook in hooks]
        rows = [
            self._row(event, number, now)
            for event in events
            for number, organisation, kinds, queue, type in told
            if organisation == event["organisation"]
            and (queue is None or queue == event["queue"])
            and (type is None or type == event["type"])
            and wants(kinds, str(event["kind"]))
        ]
        self._connection.rows_for_each("insert_deliveries", rows)
        return bool(rows)

    def _row(self, event: Mapping[str, Value], hook: int, now: Callable[[], datetime]) -> dict[str, Value]:
        return {**event, "id": self._new_id(), "hook": hook, "now": to_micros(now())}

    def add(self, hook: Hook, *, kind: str, subject: str, data: Json, now: datetime) -> Delivery:
        """Write a delivery to one hook, of an event that is in no log."""
        event: dict[str, Value] = {
            "organisation": hook.organisation,
            "kind": kind,
            "subject": subject,
            "queue": hook.queue,
            "type": None,
            "data": json_text(data),
            "at": to_micros(now),
        }
        row = self._row(event, hook.number, lambda: now)
        self._connection.rows_for_each("insert_deliveries", [row])
        delivery = self.delivery(hook.number, str(row["id"]))
        assert delivery is not None
        return delivery

    def due(self) -> list[tuple[int, datetime]]:
        """Return when each enabled hook, by its number, has something to send: the one that is due first, first."""
        return [(number, from_micros(first)) for number, first in self._connection.rows("due_hooks")]

    def claim(self, hook: int, limit: int, *, now: datetime, lease_until: datetime) -> list[Delivery]:
        """Take up to *limit* due deliveries of a hook, for whoever sends them before *lease_until*."""
        rows = self._connection.rows(
            "claim_deliveries",
            hook=hook,
            limit=limit,
            now=to_micros(now),
            lease_until=to_micros(lease_until),
        )
        return sorted(map(_delivery_of, rows), key=lambda delivery: delivery.number)

    def settle(
        self,
        delivery: Delivery,
        state: DeliveryState,
        answer: Answer,
        *,
        next_at: datetime | None,
        finished_at: datetime | None,
    ) -> bool:
        """Note what came of an attempt; False when it was another's by then."""
        return bool(
            self._connection.run(
                "settle_delivery",
                number=delivery.number,
                claims=delivery.claims,
                state=state.value,
                next_at=micros(next_at),
                status=answer.status,
                error=answer.error,
                took=span_micros(answer.took),
                finished_at=micros(finished_at),
            )
        )

    def give_back(self, delivery: Delivery, now: datetime) -> bool:
        """Let a claimed delivery, which was not sent, be due at once."""
        return bool(
            self._connection.run(
                "give_back_delivery", number=delivery.number, claims=delivery.claims, now=to_micros(now)
            )
        )

    def resend(self, delivery: Delivery, now: datetime) -> None:
        self._connection.run(
            "resend_delivery", number=delivery.number, hook=delivery.hook, now=to_micros(now)
        )

    def delivery(self, hook: int, id: str) -> Delivery | None:
        row = self._connection.row("get_delivery", hook=hook, id=id)
        return _delivery_of(row) if row else None

    def deliveries(
        self, hook: int, *, limit: int, state: DeliveryState | None = None, before: int | None = None
    ) -> list[Delivery]:
        """Return the deliveries of a hook, newest first."""
        conditions: list[str] = []
        values: dict[str, Value] = {}
        if state is not None:
            conditions.append("delivery_in_state")
            values["state"] = state.value
        if before is not None:
            conditions.append("delivery_before")
            values["before"] = before
        rows = self._connection.rows("list_deliveries", *conditions, hook=hook, limit=limit, **values)
        return [_delivery_of(row) for row in rows]

    def delete_before(self, before: datetime, limit: int) -> int:
        """Remove old deliveries, at most *limit*, whatever has become of them."""
        return self._connection.run("delete_deliveries", before=to_micros(before), limit=limit)


def _columns(hook: Hook) -> dict[str, Value]:
    return {
        "organisation": hook.organisation,
        "url": hook.url,
        "events": json_text(list(hook.events)),
        "queue": hook.queue,
        "type": hook.type,
        "wire": hook.wire,
        "settings": json_text(hook.settings),
        "enabled": int(hook.enabled),
        "reason": hook.reason,
        "secret": hook.secret,
        "former_secret": hook.former_secret,
        "former_until": micros(hook.former_until),
        "now": to_micros(hook.updated_at),
    }


def _hook_of(row: Row) -> Hook:
    (number, id, organisation, url, events, queue, type, wire, settings, enabled, reason, secret, former_secret, former_until, actor,
     created_at, updated_at) = row  # fmt: skip
    return Hook(
        number=number,
        id=id,
        organisation=organisation,
        url=url,
        events=tuple(from_json(events)),
        queue=queue,
        type=type,
        wire=wire,
        settings=from_json(settings),
        enabled=bool(enabled),
        reason=reason,
        secret=secret,
        former_secret=former_secret,
        former_until=moment(former_until),
        actor=actor,
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
    )


def _delivery_of(row: Row) -> Delivery:
    (number, id, organisation, hook, kind, subject, queue, type, data, at, state, claims, attempts, next_at, sent_at, status, error, took,
     finished_at, created_at) = row  # fmt: skip
    return Delivery(
        number=number,
        id=id,
        organisation=organisation,
        hook=hook,
        kind=kind,
        subject=subject,
        queue=queue,
        type=type,
        data=from_json(data),
        at=from_micros(at),
        state=DeliveryState(state),
        claims=claims,
        attempts=attempts,
        next_at=moment(next_at),
        sent_at=moment(sent_at),
        status=status,
        error=error,
        took=period(took),
        finished_at=moment(finished_at),
        created_at=from_micros(created_at),
    )
