"""Bodies and queries of this wire."""

from typing import Any, Final

import msgspec

from taskyard.core.errors import Invalid
from taskyard.core.task import NewTask
from taskyard.http.bodies import Body, Query, read_query
from taskyard.http.dialect import Call

MOST: Final = 100


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done, and with what."""

    do: str
    to: Any = None


class Asked(Query):
    after: int = 0
    most: int = 10


_wish: Final = Body(Wish)


async def wish_of(call: Call) -> NewTask:
    wish = _wish.read(await call.body())
    return NewTask(type=wish.do, input=wish.to, origin="toy")


def asked_of(call: Call) -> Asked:
    asked = read_query(call.request.query_params, Asked)
    if not (0 <= asked.after < 1 << 62 and 1 <= asked.most <= MOST):
        raise Invalid(f"after is no number of a task, or most is not from 1 to {MOST}")
    return asked
