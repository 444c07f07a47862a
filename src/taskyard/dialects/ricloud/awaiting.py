"""``Ricloud-Await``: an answer that is held until what it shows has settled (contract, section 13)."""

from collections.abc import Callable
from typing import Any, Final

from taskyard.dialects.ricloud import parse
from taskyard.http.dialect import Call
from taskyard.store.records import Records

#: Who submitted the tasks that are made over this wire.
ORIGIN: Final = "ricloud"


async def awaited(
    call: Call,
    subject: str | None,
    look: Callable[[Records], dict[str, Any]],
    enough: Callable[[dict[str, Any]], bool],
) -> dict[str, Any]:
    """Return what *look* sees: at once, or once it is *enough* where the client lets its answer be held."""
    seconds = parse.seconds_to_await(call)
    if not seconds:
        return await call.backend.read(look)
    return await call.while_here(
        call.backend.feed.look_until(
            look, enough, organisation=call.actor.organisation, subject=subject, seconds=seconds
        )
    )
