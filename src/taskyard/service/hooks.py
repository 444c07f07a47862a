"""Hooks: make, change, test, read; and what the courier does with their deliveries, one transaction each."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from standardwebhooks import Webhook

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Fault, Invalid, NotFound
from taskyard.core.hook import (
    TEST,
    Answer,
    Delivery,
    DeliveryState,
    Hook,
    NewHook,
    check_hook,
    wait_after,
)
from taskyard.core.limits import check_range
from taskyard.core.task import Json
from taskyard.service.seal import Seal
from taskyard.store.records import Records

#: Each commit looks up who wants to be told, so there are not millions; a queue for people has one, so there are many.
MAX_HOOKS: Final = 10_000
#: How long deliveries are signed with the former secret too, after it was changed.
OVERLAP: Final = timedelta(hours=24)
DEFAULT_DELIVERIES: Final = 50
MAX_DELIVERIES: Final = 1_000
#: News of something to send.
TOPIC: Final = "delivery"

_CHANGEABLE: Final = frozenset({"url", "events", "queue", "type", "enabled", "settings"})


@dataclass(frozen=True, slots=True)
class MadeHook:
    """A hook and its secret, which is told here and nowhere else."""

    hook: Hook
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What is sent: a POST of *body* to *url*."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt, and what came of it."""

    delivery: Delivery
    answer: Answer


#: Writes what is sent for a delivery, signed with each of the secrets: the newest first.
Wire = Callable[[Records, Hook, Delivery, Sequence[str]], Letter]


class Hooks:
    """
    Args:
        new_id: Makes UUIDv7 text.
        seal: Seals the secrets.
        token: Returns unguessable text of at least so many random bytes.
        jitter: Returns a number in [0, 1): spreads the tries after an outage of a receiver.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        seal: Seal,
        token: Callable[[int], str],
        jitter: Callable[[], float],
    ) -> None:
        self._new_id = new_id
        self._seal = seal
        self._token = token
        self._jitter = jitter

    # -- what is subscribed to -------------------------------------------------------------------------------------------------

    def create(self, records: Records, actor: Actor, new: NewHook) -> MadeHook:
        """Raises Forbidden, Invalid, Conflict (there are too many)."""
        actor.require(Permission.MANAGE)
        _refuse(check_hook(new))
        if len(records.hooks.all(actor.organisation, limit=MAX_HOOKS)) >= MAX_HOOKS:
            raise Conflict(f"an organisation has at most {MAX_HOOKS:,} hooks", code="too_many")
        secret = self._secret()
        hook = records.hooks.insert(
            Hook(
                number=0,
                id=self._new_id(),
                organisation=actor.organisation,
                url=new.url,
                events=new.events,
                queue=new.queue,
                type=new.type,
                wire=new.wire,
                settings=new.settings,
                enabled=new.enabled,
                reason=None,
                secret=self._seal.seal(secret),
                former_secret=None,
                former_until=None,
                actor=actor.identity,
                created_at=records.now,
                updated_at=records.now,
            )
        )
        _note(records, "created", hook, {"by": actor.identity})
        return MadeHook(hook, secret)

    def change(self, records: Records, actor: Actor, id: str, changes: Mapping[str, Any]) -> Hook:
        """
        Set what *changes* names and leave the rest. One that is enabled again is sent what waited for it.

        Raises:
            NotFound, Forbidden, Invalid.
        """
        actor.require(Permission.MANAGE)
        _refuse(
            [
                Fault(f"/{each}", "unknown_member", f"a hook has no {each} to change")
                for each in changes
                if each not in _CHANGEABLE
            ]
        )
        hook = self._locked(records, actor, id)
        after = replace(hook, **changes)
        if after.enabled:
            after = replace(after, reason=None)
        if after == hook:
            return hook
        _refuse(check_hook(after))
        after = replace(after, updated_at=records.now)
        records.hooks.update(after)
        _note(records, "changed", after, {"by": actor.identity, "changed": sorted(changes)})
        records.news.add(TOPIC)
        return after

    def delete(self, records: Records, actor: Actor, id: str) -> None:
        """Remove a hook; what was not delivered yet never will be. Raises NotFound, Forbidden."""
        actor.require(Permission.MANAGE)
        hook = self._locked(records, actor, id)
        records.hooks.delete(actor.organisation, id)
        _note(records, "deleted", hook, {"by": actor.identity})

    def rotate(self, records: Records, actor: Actor, id: str) -> MadeHook:
        """Give a hook another secret; for a day what is sent is signed with the former one, too. Raises NotFound, Forbidden."""
        actor.require(Permission.MANAGE)
        hook = self._locked(records, actor, id)
        secret = self._secret()
        after = replace(
            hook,
            secret=self._seal.seal(secret),
            former_secret=hook.secret,
            former_until=records.now + OVERLAP,
            updated_at=records.now,
        )
        records.hooks.update(after)
        _note(records, "rotated", after, {"by": actor.identity})
        return MadeHook(after, secret)

    def get(self, records: Records, actor: Actor, id: str) -> Hook:
        """Raises NotFound (also for another organisation's hook), Forbidden: a URL is often a secret by itself."""
        actor.require(Permission.MANAGE)
        hook = records.hooks.get(actor.organisation, id)
        if hook is None:
            raise NotFound("hook", id)
        return hook

    def all(
        self,
        records: Records,
        actor: Actor,
        *,
        queue: str | None = None,
        wire: str | None = None,
        number: int | None = None,
    ) -> list[Hook]:
        """Return the hooks of the actor's organisation, the oldest first; only some, where something is named."""
        actor.require(Permission.MANAGE)
        return records.hooks.all(actor.organisation, queue=queue, wire=wire, number=number, limit=MAX_HOOKS)

    # -- deliveries ------------------------------------------------------------------------------------------------------------

    def deliveries(
        self,
        records: Records,
        actor: Actor,
        id: str,
        *,
        state: DeliveryState | None = None,
        limit: int = DEFAULT_DELIVERIES,
        before: int | None = None,
    ) -> list[Delivery]:
        """Return deliveries to a hook, newest first; ``before`` is the number of the last one seen. Raises NotFound, Invalid."""
        _refuse(check_range(limit, "/limit", 1, MAX_DELIVERIES))
        return records.hooks.deliveries(
            self.get(records, actor, id).number, limit=limit, state=state, before=before
        )

    def delivery(self, records: Records, actor: Actor, id: str, delivery: str) -> Delivery:
        """Raises NotFound (the hook, or the delivery), Forbidden."""
        found = records.hooks.delivery(self.get(records, actor, id).number, delivery)
        if found is None:
            raise NotFound("delivery", delivery)
        return found

    def resend(self, records: Records, actor: Actor, id: str, delivery: str) -> Delivery:
        """
        Send a delivery now, under its id, whatever has become of it, and try as often as a new one.

        Raises:
            NotFound, Forbidden, Conflict (the hook is disabled).
        """
        hook = self.get(records, actor, id)
        found = self.delivery(records, actor, id, delivery)
        _refuse_disabled(hook)
        records.hooks.resend(found, records.now)
        records.news.add(TOPIC)
        return self.delivery(records, actor, id, delivery)

    def test(self, records: Records, actor: Actor, id: str) -> Delivery:
        """Send a hook an event of the kind ``hook.test``. Raises NotFound, Forbidden, Conflict (it is disabled)."""
        hook = self.get(records, actor, id)
        _refuse_disabled(hook)
        return self.tell(records, hook, kind=TEST, subject=hook.id, data={"by": actor.identity})

    def tell(self, records: Records, hook: Hook, *, kind: str, subject: str, data: Json = None) -> Delivery:
        """Send *hook* what it is not subscribed to. For services: asks for no permission."""
        delivery = records.hooks.add(hook, kind=kind, subject=subject, data=data, now=records.now)
        records.news.add(TOPIC)
        return delivery

    # -- what the courier does ---------------------------------------------------------------------------------------------------

    def due(self, records: Records) -> tuple[datetime, list[tuple[int, datetime]]]:
        """Return the time, and when each hook (by its number) next has something to send, the earliest first."""
        return records.now, records.hooks.due()

    def claim(self, records: Records, wanted: Mapping[int, int], lease: timedelta) -> list[Delivery]:
        """Take up to so many due deliveries of each hook; for the length of *lease* nobody else does."""
        return [
            delivery
            for hook, limit in wanted.items()
            for delivery in records.hooks.claim(hook, limit, now=records.now, lease_until=records.now + lease)
        ]

    def letters(
        self, records: Records, deliveries: Sequence[Delivery], wire: Callable[[str], Wire]
    ) -> list[Letter | Exception]:
        """
        Return what to send for each; an exception where nothing can be sent.

        Args:
            wire: Returns a wire by its name.
        """
        hooks = records.hooks.by_number(list({delivery.hook for delivery in deliveries}))
        return [self._letter(records, hooks.get(each.hook), each, wire) for each in deliveries]

    def _letter(
        self, records: Records, hook: Hook | None, delivery: Delivery, wire: Callable[[str], Wire]
    ) -> Letter | Exception:
        if hook is None:
            return NotFound("hook", delivery.hook)
        try:
            return wire(hook.wire)(records, hook, delivery, self._secrets(hook, records.now))
        except Exception as error:  # one that cannot be written must not hold up the others
            return error

    def settle(self, records: Records, sent: Sequence[Sent]) -> list[bool | Exception]:
        """
        Note what came of some attempts: delivered, to be tried again, or given up. The answer for each is whether it was
        still the sender's.
        """
        return [self._settle(records, each.delivery, each.answer) for each in sent]

    def _settle(self, records: Records, delivery: Delivery, answer: Answer) -> bool:
        now = records.now
        if answer.accepted:
            return records.hooks.settle(
                delivery, DeliveryState.DELIVERED, answer, next_at=None, finished_at=now
            )
        wait = None if answer.gone else wait_after(delivery.attempts, answer, jitter=self._jitter)
        if wait is not None:
            return records.hooks.settle(
                delivery, DeliveryState.PENDING, answer, next_at=now + wait, finished_at=None
            )
        if not records.hooks.settle(delivery, DeliveryState.GIVEN_UP, answer, next_at=None, finished_at=now):
            return False
        hook = records.hooks.by_number([delivery.hook]).get(delivery.hook)
        if hook is not None:
            told = {
                "delivery": delivery.id,
                "kind": delivery.kind,
                "subject": delivery.subject,
                "status": answer.status,
            }
            _note(records, "gave_up", hook, told)
            if answer.gone:
                self._disable(records, hook, "the receiver has answered 410: it wants no more")
        return True

    def _disable(self, records: Records, hook: Hook, reason: str) -> None:
        records.hooks.update(replace(hook, enabled=False, reason=reason, updated_at=records.now))
        _note(records, "disabled", hook, {"reason": reason})

    def give_back(self, records: Records, deliveries: Sequence[Delivery]) -> int:
        """Let what was claimed and not sent be due at once; return how many it were."""
        records.news.add(TOPIC)
        return sum(records.hooks.give_back(each, records.now) for each in deliveries)

    # ----------------------------------------------------------------------------------------------------------------------------

    def _locked(self, records: Records, actor: Actor, id: str) -> Hook:
        hook = records.hooks.lock(actor.organisation, id)
        if hook is None:
            raise NotFound("hook", id)
        return hook

    def _secret(self) -> str:
        return "whsec_" + base64.b64encode(self._token(24).encode()).decode()

    def _secrets(self, hook: Hook, now: datetime) -> list[str]:
        secrets = [self._seal.open(hook.secret)]
        if hook.former_secret is not None and hook.former_until is not None and now < hook.former_until:
            secrets.append(self._seal.open(hook.former_secret))
        return secrets


def standard(records: Records, hook: Hook, delivery: Delivery, secrets: Sequence[str]) -> Letter:
    """The wire of the hooks of the native API: Standard Webhooks, with the event as the feed shows it."""
    told = {
        "type": delivery.kind,
        "timestamp": delivery.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": {
            "subject": delivery.subject,
            "queue": delivery.queue,
            "type": delivery.type,
            "data": delivery.data,
        },
    }
    return signed(hook.url, delivery, msgspec.json.encode(told), secrets, records.now)


def signed(url: str, delivery: Delivery, body: bytes, secrets: Sequence[str], now: datetime) -> Letter:
    """Return *body*, JSON, as a letter with the headers of Standard Webhooks 1.0.0."""
    text = body.decode()
    signatures = [Webhook(secret).sign(delivery.id, now, text) for secret in secrets]
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    return Letter(url=url, headers=headers, body=body)


def _note(records: Records, kind: str, hook: Hook, data: Json) -> None:
    records.events.append(
        f"hook.{kind}",
        organisation=hook.organisation,
        subject=hook.id,
        at=records.now,
        queue=hook.queue,
        data=data,
    )


def _refuse_disabled(hook: Hook) -> None:
    if not hook.enabled:
        raise Conflict(f"the hook {hook.id} is disabled; enable it first", code="disabled")


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, faults=faults)
