"""The words and the numbers the rest is built on."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard.core.backoff import CAP, retry_delay
from taskyard.core.errors import Invalid
from taskyard.core.event import Cursor
from taskyard.core.limits import check_name, check_new_task, check_text
from taskyard.core.task import ACTIONS, MOVES, NewTask, State
from taskyard.core.times import from_micros, to_micros

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS)
def test_a_time_comes_back_from_the_store_to_the_microsecond(at):
    assert from_micros(to_micros(at)) == at


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_a_time_of_any_zone_is_the_same_moment(at, minutes):
    if at.year in range(1971, 9999):
        assert to_micros(at.astimezone(timezone(timedelta(minutes=minutes)))) == to_micros(at)


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_wait_grows_with_the_failures_up_to_the_cap_and_is_spread_by_at_most_a_tenth(failures, jitter):
    plain = retry_delay(failures, jitter=lambda: 0.0)
    spread = retry_delay(failures, jitter=lambda: jitter)

    assert timedelta(seconds=2) <= plain <= CAP
    assert plain <= retry_delay(failures + 1, jitter=lambda: 0.0)
    assert plain <= spread <= plain * 1.1


def test_failures_count_from_one():
    with pytest.raises(ValueError, match="counts from 1"):
        retry_delay(0, jitter=lambda: 0.0)


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_a_cursor_comes_back_from_its_text(tx, seq):
    assert Cursor.parse(str(Cursor(tx, seq))) == Cursor(tx, seq)


@pytest.mark.parametrize("text", ["", "-", "1", "1-2-3", "x-1", "1-", "é-1"])
def test_a_text_that_is_no_cursor_is_refused(text):
    with pytest.raises(Invalid):
        Cursor.parse(text)


@pytest.mark.parametrize("name", ["resize", "a.b:c@d/e+f-g", "0", "_x", "x" * 200])
def test_names_are_words_for_urls_shells_and_sql(name):
    assert check_name(name, "/type") == []


@pytest.mark.parametrize("name", ["", " ", "-x", ".x", "a b", "é", "a\n", "x" * 201, "a;b", None, 1])
def test_what_is_no_name_is_refused(name):
    [fault] = check_name(name, "/type")

    assert (fault.pointer, fault.code) == ("/type", "bad_name")


@pytest.mark.parametrize(
    ("text", "code"), [("x" * 11, "too_long"), ("a\0b", "bad_text"), ("\ud800", "bad_text"), (1, "bad_type")]
)
def test_text_that_cannot_be_kept_is_refused(text, code):
    assert [fault.code for fault in check_text(text, "/key", most=10)] == [code]


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(Invalid) as refusal:
        check_new_task(NewTask(type="", priority=10**6, key=""), pointer="/tasks/3")

    assert [fault.pointer for fault in refusal.value.faults] == [
        "/tasks/3/type",
        "/tasks/3/priority",
        "/tasks/3/key",
    ]


def test_what_a_task_is_said_to_allow_is_a_move_it_can_make():
    """Claim, settle and release are moves by name; the other actions stand for moves of theirs."""
    moves = {"claim": "claim", "cancel": "cancel", "release": "release", "settle": "succeed"}
    for state, actions in ACTIONS.items():
        for action in actions:
            if action in moves and not (action == "cancel" and state is State.RUNNING):  # it is asked to stop
                assert state in MOVES[moves[action]].leaves
