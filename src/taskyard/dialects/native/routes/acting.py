"""How every endpoint that changes something answers: once per idempotency key, in one transaction."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from starlette.responses import Response

from taskyard.dialects.native.render.words import encode, reply
from taskyard.http.call import Call
from taskyard.http.once import Once, Replayed, once_of
from taskyard.store.accounts import Reply
from taskyard.store.records import Records

Answer = TypeVar("Answer")

IDEMPOTENT: Final[Mapping[str, str]] = {
    "Idempotency-Key": "Asked again with the same key, the same request is answered as it was, and not done twice."
}

#: Tells the answer to a repeat from the first one.
REPLAYED: Final[Mapping[str, str]] = {"Idempotency-Replayed": "true"}

Headers = Callable[[Any], Mapping[str, str]]


def no_headers(_: Any) -> Mapping[str, str]:
    return {}


def no_answer(_: Any) -> None:
    """Show nothing: the answer is 204."""


async def act(
    call: Call,
    work: Callable[[Records], Answer],
    shown: Callable[[Answer], Any],
    *,
    status: int = 200,
    headers: Headers = no_headers,
) -> Response:
    """Do *work* in a transaction, once, and answer what *shown* makes of it; nothing where that is None."""
    once = once_of(call.actor, call.request, await call.body())

    def kept(answer: Answer) -> Reply:
        assert once is not None
        return reply_kept(once, shown(answer), status, headers(answer))

    answer = await call.backend.write(call.backend.submissions.one, once, work, kept)
    if isinstance(answer, Replayed):
        return replayed(answer)
    body = shown(answer)
    return Response(status_code=204) if body is None else reply(body, status, headers(answer))


def reply_kept(once: Once, body: Any, status: int, headers: Mapping[str, str]) -> Reply:
    if body is None:
        return once.reply(204, b"", headers)
    return once.reply(status, encode(body), headers)


def replayed(answer: Replayed) -> Response:
    """Answer as the request was answered before."""
    reply = answer.reply
    headers = {**reply.headers, **REPLAYED}
    if reply.status == 204:
        return Response(status_code=204, headers=headers)
    return Response(reply.body.encode(), reply.status, headers, media_type="application/json")
