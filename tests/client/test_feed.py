"""Server-sent events are put together as WHATWG HTML § 9.2 says, and a feed is taken up where it ended."""

import json
from typing import Any

from taskyard.client.errors import Unreachable
from taskyard.client.feed import FeedCalls, Lines, Message
from taskyard.client.flow import Answer, Item, NextLine, Open, Pause
from tests.client.test_sending import Face

EVENT = {"at": "2026-03-01T12:00:00Z", "kind": "task.submitted", "subject": "t1"}


def messages(text: str) -> list[Message]:
    lines = Lines()
    return [message for line in text.split("\n") for message in lines.take(line)]


def test_a_message_ends_with_an_empty_line():
    assert messages("id: 5\nevent: note\ndata: one\ndata: two\n\n") == [Message("5", "note", "one\ntwo")]


def test_comments_are_no_messages():
    assert messages(": heartbeat\n\nretry: 1000\n\n") == []


def test_an_id_without_data_moves_on_where_the_feed_resumes_and_shows_nothing():
    flow = FeedCalls.events.flow(Face())
    opened(flow, next(flow))
    for line in (": still here", "id: a-9", ""):
        assert isinstance(flow.send(line), NextLine)

    assert isinstance(flow.throw(Unreachable("http://yard", "reset")), Pause)
    assert flow.send(None).request.headers["Last-Event-ID"] == "a-9"


def test_only_one_space_after_the_colon_goes():
    assert messages("data:  indented\n\n") == [Message(data=" indented")]


def opened(flow: Any, step: Any) -> Any:
    assert isinstance(step, Open)
    return flow.send(Answer(200, {}, b""))


def given(flow: Any, id: str) -> Item:
    assert isinstance(flow.send(f"id: {id}"), NextLine)
    assert isinstance(flow.send(f"data: {json.dumps({'id': id, **EVENT})}"), NextLine)
    item = flow.send("")
    assert isinstance(item, Item)
    return item


def test_a_feed_that_breaks_is_taken_up_after_the_last_event_it_gave():
    flow = FeedCalls.events.flow(Face())
    step = next(flow)
    assert "Last-Event-ID" not in step.request.headers
    opened(flow, step)
    assert given(flow, "a-1").value.id == "a-1"
    flow.send(None)

    assert isinstance(flow.throw(Unreachable("http://yard", "reset")), Pause)
    again = flow.send(None)

    assert again.request.headers["Last-Event-ID"] == "a-1"


def test_a_feed_that_the_server_ends_is_taken_up_too():
    flow = FeedCalls.events.flow(Face())
    opened(flow, next(flow))
    given(flow, "a-1")
    flow.send(None)

    assert isinstance(flow.send(None), Pause)  # no more lines
    assert flow.send(None).request.headers["Last-Event-ID"] == "a-1"


def test_a_feed_is_given_up_when_nobody_answers_for_long():
    flow = FeedCalls.events.flow(Face(patience=1.0))
    step = next(flow)
    given_up = None

    for _ in range(10):
        try:
            flow.throw(Unreachable("http://yard", "refused", unsent=True))
        except Unreachable as error:
            given_up = error
            break
        step = flow.send(None)

    assert given_up is not None
    assert isinstance(step, Open)
