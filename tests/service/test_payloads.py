"""What is handed over is stored, refused or cut; never half of it, and never so that it cannot be read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard.core.errors import Invalid, TooLarge
from taskyard.service.payloads import MAX_DEPTH, beginning, end, fitting
from taskyard.store.values import from_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_what_is_json_comes_back_as_it_was(value):
    assert from_json(fitting("the input", value, 10**9)) == value


@given(JSON, st.integers(0, 200))
def test_a_limit_counts_bytes(value, most):
    text = fitting("the input", value, 10**9)
    size = 0 if text is None else len(text.encode())
    if size <= most:
        assert fitting("the input", value, most) == text
        return
    with pytest.raises(TooLarge) as refusal:
        fitting("the input", value, most)
    assert (refusal.value.size_bytes, refusal.value.limit_bytes) == (size, most)


def nested(depth, inner=1):
    for each in range(depth):
        inner = [inner] if each % 2 else {"a": inner}
    return inner


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 950, 5_000])
def test_what_is_nested_too_deep_to_be_read_again_is_refused(depth):
    with pytest.raises(Invalid):
        fitting("the input", nested(depth), 10**9)


def test_what_is_wide_is_not_deep():
    fitting("the input", nested(MAX_DEPTH), 10**9)
    fitting("the input", [[{"a": "[{"}]] * 1000, 10**9)


@given(st.text(st.characters(), max_size=50), st.integers(0, 60))
def test_any_text_is_cut_to_what_a_database_can_keep(text, most):
    for cut in (beginning(text, most), end(text, most)):
        assert len(cut.encode()) <= most
        assert "\0" not in cut


def test_a_beginning_is_the_beginning_and_an_end_the_end():
    assert (beginning("abcé", 4), end("éabc", 4)) == ("abc", "abc")
    assert (beginning("abc", 9), end("abc", 9)) == ("abc", "abc")
