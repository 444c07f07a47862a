"""How a request is sent until it is answered: what is tried again, when, and for how long."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from taskyard.client.errors import Unreachable, error_of, retry_after
from taskyard.client.flow import NOTHING, Answer, Flow, Pause, Query, Request
from taskyard.core.backoff import retry_delay
from taskyard.core.errors import LimitReached, TaskyardError, Unavailable
from taskyard.core.task import Json

#: A server that restarts is back well within this.
PATIENCE: Final = timedelta(seconds=30)
FIRST_DELAY: Final = timedelta(milliseconds=100)
LONGEST_DELAY: Final = timedelta(seconds=5)


class Sender(Protocol):
    """What calls need of the face they are made on."""

    @property
    def patience(self) -> timedelta:
        """How long to wait, all told, for a server that cannot answer now."""

    def new_key(self) -> str:
        """Make an idempotency key."""

    def jitter(self) -> float:
        """Return a number in [0, 1)."""

    def elapsed(self) -> float:
        """Return the seconds since some fixed moment."""


def answered(face: Sender, request: Request) -> Flow[Answer]:
    """
    Send *request* until it is answered.

    A 503 or 429 was not acted upon, so it is sent again after what ``Retry-After`` says; a connection that broke
    only where ``request.again`` allows it or where nothing can have arrived.

    Raises:
        TaskyardError: what the server refused, or Unreachable once patience is spent.
    """
    waited = timedelta(0)
    tries = 0
    while True:
        tries += 1
        delay = retry_delay(tries, jitter=face.jitter, base=FIRST_DELAY, cap=LONGEST_DELAY)
        refusal: TaskyardError
        try:
            answer: Answer = yield request
        except Unreachable as unreachable:
            if not (request.again or unreachable.unsent):
                raise
            refusal = unreachable
        else:
            if answer.status < 400:
                return answer
            refusal = error_of(answer)
            if not isinstance(refusal, Unavailable | LimitReached):
                raise refusal
            delay = retry_after(answer) or delay
        if waited + delay > face.patience:
            raise refusal
        waited += delay
        yield Pause(delay.total_seconds())


def read(face: Sender, path: str, query: Query | None = None, **named: Any) -> Flow[Any]:
    """GET the JSON at *path*."""
    request = Request("GET", path, query=query or {}, again=True, **named)
    return decoded((yield from answered(face, request)))


def act(
    face: Sender,
    method: str,
    path: str,
    body: Json = NOTHING,
    *,
    again: bool,
    headers: Mapping[str, str] | None = None,
    holds_seconds: float = 0.0,
    within_seconds: float | None = None,
    shape: Any = Any,
) -> Flow[Any]:
    """
    Ask for a change and return the JSON of its answer, decoded as *shape*.

    *again* says that doing it twice is the same as doing it once; what is not carries an idempotency key, by which the
    server knows a request that it has answered before.
    """
    headers = dict(headers or {})
    if not again:
        headers.setdefault("Idempotency-Key", face.new_key())
    request = Request(
        method,
        path,
        body=body,
        headers=headers,
        again=True,
        holds_seconds=holds_seconds,
        within_seconds=within_seconds,
    )
    return decoded((yield from answered(face, request)), shape)


def decoded(answer: Answer, shape: Any = Any) -> Any:
    return msgspec.json.decode(answer.body, type=shape) if answer.body else None
