"""What a worker and a child say to one another arrives as it was, in one piece or in many."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskyard import Yard
from taskyard.core.outcome import Done, Failed
from taskyard.core.task import Error, Task
from taskyard.loops.frames import Ended, Run, Unpacker, packed


@pytest.fixture
def task(program: Yard) -> Task:
    new = program.submit("any", {"n": 1, "deep": [None, True, 1.5, "ä"]}, timeout=timedelta(seconds=1.5))
    return replace(new, error=Error(code="error", message="before"), labels={"a": "b"})


@pytest.mark.parametrize("input", [None, {"n": 1}, [1, 2], 2**70, -(2**63), 1e300, "\ud800", {"a": [2**64]}])
def test_a_task_arrives_as_it_was(task: Task, input: Any) -> None:
    sent = replace(task, input=input)
    assert list(Unpacker().feed(packed(Run(sent)))) == [Run(sent)]


@pytest.mark.parametrize("output", [None, {"n": 1}, (1, 2), {3}, b"bytes", 2**70])
def test_an_output_arrives_as_it_was_whatever_it_is(output: Any) -> None:
    [ended] = Unpacker().feed(packed(Ended(Done(output))))
    assert ended == Ended(Done(output))
    assert type(ended.outcome.output) is type(output)


def test_messages_are_cut_out_of_whatever_pieces_come(task: Task) -> None:
    messages = [Run(task), Ended(Done({"a": 1})), Ended(Failed("no"), ("builtins.ValueError",)), Run(task)]
    data = b"".join(map(packed, messages))
    for size in (1, 7, len(packed(messages[0])), len(data)):
        unpacker = Unpacker()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert [message for piece in pieces for message in unpacker.feed(piece)] == messages
