"""
What an answer is held against: a pattern that says only what matters.

A member that a pattern does not name may be anything. ``ABSENT`` must not be there; functions judge.
"""

import re
import uuid
from datetime import datetime

ABSENT = object()


def is_uuid(value):
    return isinstance(value, str) and str(uuid.UUID(value)) == value


def is_uuid_or_null(value):
    return value is None or is_uuid(value)


def is_time(value):
    return isinstance(value, str) and value.endswith("Z") and datetime.fromisoformat(value) is not None


def is_time_or_null(value):
    return value is None or is_time(value)


def is_text(value):
    return isinstance(value, str)


def is_text_or_null(value):
    return value is None or is_text(value)


def is_list(value):
    return isinstance(value, list)


def is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_object_or_null(value):
    return value is None or isinstance(value, dict)


def anything(value):
    return True


def like(expression):
    return lambda value: isinstance(value, str) and re.search(expression, value) is not None


def one_of(*values):
    return lambda value: value in values


def each(pattern, least=0):
    def judge(value):
        assert isinstance(value, list)
        assert len(value) >= least
        for one in value:
            match(pattern, one)
        return True

    return judge


def holds(*patterns):
    """The list has one for each of *patterns*, wherever."""

    def judge(value):
        assert isinstance(value, list)
        for pattern in patterns:
            assert any(matches(pattern, one) for one in value), f"{pattern!r} is not in {value!r}"
        return True

    return judge


def matches(pattern, value):
    try:
        match(pattern, value)
    except (AssertionError, ValueError):
        return False
    return True


def match(pattern, value, place="body"):
    if callable(pattern):
        assert pattern(value), f"{place}: {value!r}"
    elif isinstance(pattern, dict):
        assert isinstance(value, dict), f"{place}: {value!r}"
        for name, wanted in pattern.items():
            if wanted is ABSENT:
                assert name not in value, f"{place}.{name} is there: {value[name]!r}"
            else:
                assert name in value, f"{place}.{name} is not there"
                match(wanted, value[name], f"{place}.{name}")
    elif isinstance(pattern, list):
        assert isinstance(value, list), f"{place}: {value!r}"
        assert len(value) == len(pattern), f"{place}: {value!r}"
        for index, (wanted, found) in enumerate(zip(pattern, value, strict=True)):
            match(wanted, found, f"{place}[{index}]")
    else:
        assert value == pattern, f"{place}: {value!r}"


def filled(value, names):
    """Return *value* with each ``{name}`` in its texts replaced."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, dict):
        return {name: filled(one, names) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, names) for one in value]
    return value
