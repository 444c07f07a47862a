"""The calls about the feed: what happened, as it happens."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from taskyard.client.errors import error_of, retry_after
from taskyard.client.flow import Answer, Flow, Item, NextLine, Open, Pause, Request, call, stream_of
from taskyard.client.sending import FIRST_DELAY, LONGEST_DELAY, Sender, act, read
from taskyard.client.views import EventView
from taskyard.client.words import filters
from taskyard.core.backoff import retry_delay
from taskyard.core.errors import LimitReached, Unavailable
from taskyard.core.task import Json

#: The cursor before the oldest event that is kept.
BEGINNING: Final = "0-0"


@dataclass(slots=True)
class Message:
    """
    One message of a stream of server-sent events (WHATWG HTML § 9.2). One with an id and no data shows nothing, and moves
    on where the stream resumes.
    """

    id: str | None = None
    event: str = "message"
    data: str = ""


@dataclass(slots=True)
class Lines:
    """Puts lines together to messages."""

    _fields: dict[str, list[str]] = field(default_factory=dict)

    def take(self, line: str) -> Iterator[Message]:
        """Take one line in; give the message that it ends."""
        if line:
            name, _, value = line.partition(":")
            self._fields.setdefault(name, []).append(value.removeprefix(" "))
            return
        fields, self._fields = self._fields, {}
        if "data" in fields or "id" in fields:
            yield Message(
                id=fields["id"][-1] if "id" in fields else None,
                event=fields["event"][-1] if "event" in fields else "message",
                data="\n".join(fields.get("data", [])),
            )


class FeedCalls:
    @stream_of(EventView)
    def events(
        self: Sender,
        *,
        after: str | None = None,
        kind: str | None = None,
        queue: str | None = None,
        type: str | None = None,
        follow: bool = True,
    ) -> Flow[None]:
        """
        Give what happens from now on, without end; or what happened after the cursor *after*: an event's id, or
        ``BEGINNING``. Without *follow*, give what has happened since *after*, or since the beginning, and end.

        A connection that breaks is taken up again where it ended: nothing is missed, nothing comes twice.
        """
        query = filters(None, {}, kind=kind, queue=queue, type=type)
        if follow:
            yield from _followed(self, query, after)
        else:
            yield from _past(self, query, after)

    @stream_of(EventView)
    def task_events(self: Sender, id: str) -> Flow[None]:
        """Give what happened to the task."""
        page = yield from read(self, f"/v1/tasks/{id}/events")
        for raw in page["events"]:
            yield Item(EventView.of(raw))

    @call
    def send_event(self: Sender, name: str, payload: Json = None) -> Flow[bool]:
        """
        Send *payload* to whatever waits for the event *name*, now or later.

        Returns:
            False when something was sent under this name before: the first stays.
        """
        answer = yield from act(
            self, "POST", "/v1/events:send", {"name": name, "payload": payload}, again=False
        )
        return bool(answer["sent"])


def _past(face: Sender, query: dict[str, Any], after: str | None) -> Flow[None]:
    while True:
        page = yield from read(face, "/v1/events", {**query, **({"after": after} if after else {})})
        for raw in page["events"]:
            yield Item(EventView.of(raw))
        if not page["events"]:
            return
        after = page["next"]


def _followed(face: Sender, query: dict[str, Any], after: str | None) -> Flow[None]:
    breaks = 0
    waited = 0.0
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        wait = retry_delay(breaks + 1, jitter=face.jitter, base=FIRST_DELAY, cap=LONGEST_DELAY)
        try:
            answer: Answer = yield Open(Request("GET", "/v1/events", query=query, headers=headers))
            if answer.status >= 400:
                wait = retry_after(answer) or wait
                raise error_of(answer)
            lines = Lines()
            while (line := (yield NextLine())) is not None:
                breaks, waited = 0, 0.0
                for message in lines.take(line):
                    after = message.id or after
                    if message.event != "reset" and message.data:
                        yield Item(EventView.of(msgspec.json.decode(message.data)))
        except (Unavailable, LimitReached):  # Unreachable among them
            if waited + wait.total_seconds() > face.patience.total_seconds():
                raise
        breaks += 1
        waited += wait.total_seconds()
        yield Pause(wait.total_seconds())
