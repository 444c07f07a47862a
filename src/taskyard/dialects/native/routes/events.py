"""The feed: read by cursor, waited for, or streamed; and events for tasks that wait for them."""

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.event import Cursor
from taskyard.dialects.native.identify import identify
from taskyard.dialects.native.parse.events import EventQuery, SendBody
from taskyard.dialects.native.parse.tasks import MAX_WAIT_SECONDS
from taskyard.dialects.native.render.events import EventPage, SentShown, event_shown
from taskyard.dialects.native.render.words import reply
from taskyard.dialects.native.routes.acting import IDEMPOTENT, act
from taskyard.http.bodies import Body, read_query
from taskyard.http.call import Call
from taskyard.http.operation import Operation
from taskyard.http.stream import Choice, sent_events, told
from taskyard.service.feed import FeedPage
from taskyard.store.records import Records

SEND: Final = Body(SendBody)


async def read_events(call: Call) -> Response:
    """
    Read what happened, oldest first.

    With `Accept: text/event-stream` events are streamed as they happen, from `Last-Event-ID` or `after` on, and from now on without
    either. Otherwise a page is returned; with `wait` the answer is held until there is something to tell.
    """
    query = read_query(call.request.query_params, EventQuery)
    choice = Choice(actor=call.actor, kinds=tuple(query.kind), queue=query.queue, type=query.type)
    last = call.headers.get("last-event-id") or query.after
    after = None if last is None else Cursor.parse(last)
    if "text/event-stream" in call.headers.get("accept", ""):
        # The first look tells whether the actor may read at all, before the stream has begun.
        await call.backend.read(call.backend.services.feed.end, call.actor)
        may_still = partial(identify, call.request, call.backend)
        return sent_events(told(call.backend, choice, after, may_still=may_still), event_shown)

    def look(records: Records) -> FeedPage:
        return choice.read(call.backend.services.feed, records, after, query.page_size)

    if query.wait:
        page = await call.while_here(
            call.backend.feed.look_until(
                look,
                lambda page: bool(page.events),
                organisation=call.actor.organisation,
                subject=None,
                seconds=min(query.wait, MAX_WAIT_SECONDS),
            )
        )
    else:
        page = await call.backend.read(look)
    return reply(EventPage(events=[event_shown(each) for each in page.events], next=str(page.next)))


async def send_event(call: Call) -> Response:
    """Send an event to the tasks that wait for its name, now or later."""
    body, tasks = SEND.read(await call.body()), call.backend.services.tasks
    return await act(call, lambda records: tasks.send(records, call.actor, body.name, body.payload), _sent)


def _sent(sent: bool) -> Any:
    return SentShown(sent=sent)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/events",
        read_events,
        "events",
        {200: EventPage},
        query=EventQuery,
        headers={"Last-Event-ID": "Where a stream resumes: the id of the last event that was received."},
        refusals=(409, 422),
        streams=True,
    ),
    Operation(
        "POST", "/events:send", send_event, "events", {200: SentShown}, body=SendBody, headers=IDEMPOTENT
    ),
)
