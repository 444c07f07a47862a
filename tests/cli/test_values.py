"""What people type means what they think it means, or is refused with a sentence that says what is accepted."""

import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from taskyard.cli import values

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("7d", timedelta(days=7)),
        ("90", timedelta(seconds=90)),
    ],
)
def test_a_span_is_read_with_its_units(text, length):
    assert values.span(text) == length


@pytest.mark.parametrize("text", ["", "5q", "soon", "m5", "-5m", "5m later", "9" * 400 + "w"])
def test_what_is_no_span_is_refused_with_examples_or_a_reason(text):
    with pytest.raises(ValueError, match=r"is not a span; say 30s|longer than time"):
        values.span(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOON),
        ("in 5m", NOON + timedelta(minutes=5)),
        ("2h ago", NOON - timedelta(hours=2)),
        ("2026-03-02T08:00:00Z", datetime(2026, 3, 2, 8, 0, tzinfo=UTC)),
        ("2026-03-02T08:00:00+02:00", datetime(2026, 3, 2, 6, 0, tzinfo=UTC)),
    ],
)
def test_a_time_is_absolute_or_relative_to_now(text, at):
    assert values.moment(text, NOON) == at


def test_a_time_without_a_zone_is_in_the_zone_of_the_person_who_types_it():
    in_zurich = NOON.astimezone(timezone(timedelta(hours=1)))

    assert values.moment("2026-03-02T08:00", in_zurich) == datetime(2026, 3, 2, 7, 0, tzinfo=UTC)


def test_since_looks_back_by_a_span():
    assert values.since("1h", NOON) == NOON - timedelta(hours=1)


def test_what_is_no_time_is_refused_with_examples():
    with pytest.raises(ValueError, match="say 2026-03-01T12:00:00Z, in 5m or 2h ago"):
        values.moment("tomorrowish", NOON)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("size=256", ("size", 256)),
        ("name=Ana", ("name", "Ana")),
        ("ok=true", ("ok", True)),
        ("none=null", ("none", None)),
        ("zip=01234", ("zip", "01234")),
        ('zip="1234"', ("zip", "1234")),
        ("eq=a=b", ("eq", "a=b")),
        ("empty=", ("empty", "")),
        ("tags=[1, 2]", ("tags", [1, 2])),
        ("n=NaN", ("n", "NaN")),
    ],
)
def test_a_member_is_json_where_it_can_be_and_text_elsewhere(text, member):
    assert values.member(text) == member


@pytest.mark.parametrize("text", ["size", "=5"])
def test_a_member_needs_a_name_and_a_value(text):
    with pytest.raises(ValueError, match="is not name=value"):
        values.member(text)


def test_a_whole_input_comes_as_text_from_a_file_or_from_standard_input(tmp_path: Path):
    file = tmp_path / "input.json"
    file.write_text('{"a": 1}')

    assert values.whole_input('{"a": 1}', io.StringIO()) == {"a": 1}
    assert values.whole_input(f"@{file}", io.StringIO()) == {"a": 1}
    assert values.whole_input("-", io.StringIO('{"a": 1}')) == {"a": 1}


def test_a_file_that_is_not_there_or_not_json_is_named(tmp_path: Path):
    file = tmp_path / "input.json"
    file.write_text("{")

    with pytest.raises(ValueError, match=r"missing\.json cannot be read: No such file"):
        values.whole_input(f"@{tmp_path / 'missing.json'}", io.StringIO())
    with pytest.raises(ValueError, match=r"input\.json is not JSON"):
        values.whole_input(f"@{file}", io.StringIO())


def test_members_stand_over_those_of_the_whole():
    assert values.task_input([("b", 2)], {"a": 1, "b": 1}, True) == {"a": 1, "b": 2}
    assert values.task_input([], None, True) is None
    assert values.task_input([], None, False) is None
    with pytest.raises(ValueError, match="adds members to an object"):
        values.task_input([("b", 2)], [1], True)


def test_a_rate_is_so_many_in_a_span():
    assert values.rate("10/1m") == {"count": 10, "period": timedelta(minutes=1)}
    assert values.rate("10/m") == {"count": 10, "period": timedelta(minutes=1)}
    with pytest.raises(ValueError, match="say 10/1m"):
        values.rate("fast")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ana:s3:c@ret@db:5432/yard?schema=y", "postgresql://ana@db:5432/yard?schema=y"),
        ("postgresql://db/yard?password=secret&user=ana", "postgresql://db/yard?password=…&user=ana"),
        ("postgresql://ana@db/yard", "postgresql://ana@db/yard"),
        ("sqlite:///yard.db", "sqlite:///yard.db"),
        ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
    ],
)
def test_a_database_is_shown_without_its_password(url, shown):
    assert values.without_password(url) == shown
