"""
Requests that may arrive twice: what was answered under an idempotency key is kept in the transaction that did the work.

A refusal is not kept: nothing was done, so a repeat is judged anew.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.core.errors import Invalid
from taskyard.http.refusal import Malformed
from taskyard.service.accounts import Accounts
from taskyard.store.accounts import Reply
from taskyard.store.records import Records
from taskyard.store.writer import Answers, SetMove

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Done = TypeVar("Done")

HEADER: Final = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key, whose it is, and what tells one request from another."""

    actor: Actor
    key: str
    fingerprint: str

    def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> Reply:
        return Reply(fingerprint=self.fingerprint, status=status, body=body.decode(), headers=headers)

    @property
    def place(self) -> tuple[int, str, str]:
        return self.actor.organisation, self.actor.identity, self.key


def once_of(actor: Actor, request: Request, body: bytes) -> Once | None:
    """Return the request's idempotency key; None when it has none. Raises Malformed."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not key or not key.isascii() or not key.isprintable():
        raise Malformed(f"an {HEADER} is printable ASCII text", code="bad_idempotency_key")
    asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body
    return Once(actor, key, _digest(asked))


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was answered to the same request before."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Keyed(Generic[Item, Answer]):
    """One item of a move over many, with its idempotency key, if it has one, and what is kept of its answer."""

    item: Item
    once: Once | None
    shown: Callable[[Answer], Reply]


class Repeats(Generic[Item, Answer]):
    """
    Does things once.

    Args:
        move: A move over many: each item of it is done once under its own key. One ``Repeats`` serves all callers, so that
            they share its batches.
    """

    def __init__(self, accounts: Accounts, move: "SetMove[Item, Answer]") -> None:
        self._accounts = accounts
        self._move = move

    def one(
        self,
        records: Records,
        once: Once | None,
        work: Callable[[Records], Done],
        shown: Callable[[Done], Reply],
    ) -> Done | Replayed:
        """Do *work* unless it was done under this key; what *shown* makes of its answer is kept for repeats."""
        kept = self._kept(records, once)
        if kept is not None:
            return kept
        answer = work(records)
        if once is not None:
            self._accounts.keep(records, once.actor, once.key, shown(answer))
        return answer

    def many(self, records: Records, items: "Sequence[Keyed[Item, Answer]]") -> Answers[Answer | Replayed]:
        """Do what was not done before; the answer for each, in order, is its own, the one given before, or its refusal."""
        if all(each.once is None for each in items):
            return self._move(records, [each.item for each in items])
        return self._many(records, items)

    def _many(
        self, records: Records, items: "Sequence[Keyed[Item, Answer]]"
    ) -> list[Answer | Replayed | Exception]:
        answers: list[Answer | Replayed | Exception | None] = [None] * len(items)
        first: set[tuple[int, str, str]] = set()
        todo: list[int] = []
        for position, each in enumerate(items):
            if each.once is not None:
                if each.once.place in first:
                    continue  # it repeats one that is on its way in this very batch
                try:
                    answers[position] = self._kept(records, each.once)
                except Invalid as refusal:
                    answers[position] = refusal
                if answers[position] is not None:
                    continue
                first.add(each.once.place)
            todo.append(position)
        done = self._move(records, [items[position].item for position in todo])
        if callable(done):  # the answers are to be kept in this transaction
            done = done()
        for position, answer in zip(todo, done, strict=True):
            answers[position] = answer
            once = items[position].once
            if once is not None and not isinstance(answer, Exception):
                self._accounts.keep(records, once.actor, once.key, items[position].shown(answer))
        repeats = [items[position] for position, answer in enumerate(answers) if answer is None]
        if repeats:  # the first of each has its answer kept now; if it was refused, the next one is tried
            rest = iter(self._many(records, repeats))
            answers = [next(rest) if answer is None else answer for answer in answers]
        return [answer for answer in answers if answer is not None]

    def _kept(self, records: Records, once: Once | None) -> Replayed | None:
        if once is None:
            return None
        reply = self._accounts.replay(records, once.actor, once.key, once.fingerprint)
        return None if reply is None else Replayed(reply)
