"""Forms: what could reach outside, never end, or take for ever is refused when the form is set."""

import pytest

from taskyard.core.form import MAX_FORM_SIZE, check_form_shape
from taskyard.service.form import check_answer, check_form

PET = {
    "type": "object",
    "properties": {
        "species": {"enum": ["cat", "dog"]},
        "legs": {"type": "integer", "minimum": 0},
        "seen": {"type": "string", "format": "date-time"},
        "chip": {"type": "string", "pattern": "^[0-9]{15}$"},
        "names": {"type": "array", "uniqueItems": True},
    },
    "required": ["species", "legs"],
    "additionalProperties": False,
}


def codes(faults):
    return [(fault.pointer, fault.code) for fault in faults]


def test_an_answer_that_keeps_to_the_form_has_no_fault():
    assert check_form(PET, "/form") == []
    assert check_answer(PET, {"species": "cat", "legs": 4, "seen": "2026-03-01T12:00:00Z"}, "/output") == []


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ({}, [("/output/species", "required"), ("/output/legs", "required")]),
        ({"species": "cow", "legs": -1}, [("/output/species", "enum"), ("/output/legs", "minimum")]),
        ({"species": "cat", "legs": 4, "seen": "today"}, [("/output/seen", "format")]),
        ({"species": "cat", "legs": 4, "seen": "2026-03-01T12:00:00"}, [("/output/seen", "format")]),
        ({"species": "cat", "legs": 4, "chip": "7"}, [("/output/chip", "pattern")]),
        ({"species": "cat", "legs": 4, "chip": "7" * 300}, [("/output/chip", "pattern")]),
        ({"species": "cat", "legs": 4, "names": [1, "a", 1.0]}, [("/output/names", "uniqueItems")]),
        ({"species": "cat", "legs": 4, "tail": 1}, [("/output", "additionalProperties")]),
        ([], [("/output", "type")]),
        (None, [("/output", "type")]),
    ],
)
def test_each_fault_of_an_answer_is_told_where_it_is(answer, wrong):
    assert codes(check_answer(PET, answer, "/output")) == wrong


def test_a_pointer_escapes_what_has_a_meaning_in_pointers():
    form = {"properties": {"a/b~c": {"type": "integer"}}}
    assert codes(check_answer(form, {"a/b~c": "x"}, "/output")) == [("/output/a~1b~0c", "type")]


@pytest.mark.parametrize(
    "form",
    [
        {"$ref": "https://example.com/form.json"},
        {"properties": {"a": {"$ref": "other.json"}}},
        {"$ref": "#"},
        {"$ref": "#/$defs/%61", "$defs": {"a": {}}},
        {"$id": "https://example.com/", "type": "object"},
        {"properties": {"properties": {"$id": "https://example.com/"}}},
        {"$dynamicRef": "#a"},
        {"patternProperties": {"^(a+)+$": {}}},
    ],
)
def test_a_form_cannot_reach_outside_of_itself(form):
    assert [fault.code for fault in check_form(form, "/form")] == ["unsupported"]


def test_a_property_may_have_any_name():
    names = {name: {"type": "string"} for name in ("$id", "$ref", "pattern", "enum", "properties")}
    assert check_form({"type": "object", "properties": names}, "/form") == []


def test_a_form_refers_only_to_what_it_has():
    assert codes(check_form({"items": {"$ref": "#/$defs/leg"}}, "/form")) == [
        ("/form/items/$ref", "bad_reference")
    ]
    form = {"items": {"$ref": "#/$defs/leg"}, "$defs": {"leg": {"type": "integer"}}}
    assert check_form(form, "/form") == []
    assert codes(check_answer(form, [1, "x"], "/output")) == [("/output/1", "type")]


def test_a_form_without_an_end_is_refused():
    form = {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}
    assert codes(check_form_shape(form, "/form")) == [("/form", "form_loops")]


def test_a_form_that_doubles_at_each_reference_is_refused():
    doubled = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    form = {"$ref": "#/$defs/a0", "$defs": {**doubled, "a40": {}}}
    assert codes(check_form_shape(form, "/form")) == [("/form", "too_large")]
    hidden = {"$ref": "#/$defs/a0", "$defs": {**doubled, "a40": {}, "enum": doubled["a0"]}}
    assert codes(check_form_shape(hidden, "/form")) == [("/form", "too_large")]


def test_a_form_that_is_too_deep_is_refused():
    form: dict = {}
    node = form
    for _ in range(5_000):
        node["items"] = node = {}
    assert codes(check_form_shape(form, "/form")) == [("/form", "too_deep")]


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|aa)+$", "a?" * 40, "^(a{0,19}){0,19}$", ".*.*.*x", "^(aa|aa)" * 30]
)
def test_a_pattern_that_can_take_for_ever_is_refused(pattern):
    assert codes(check_form({"pattern": pattern}, "/form")) == [("/form/pattern", "slow_pattern")]


@pytest.mark.parametrize(
    "pattern",
    [r"^[^@]+@[^@]+\.[^@]+$", r"^\+?[0-9]{1,3}[ -]?[0-9]+$", r"^(\d{3}-)*\d$", "^(jpg|png)$", "cat"],
)
def test_an_ordinary_pattern_is_accepted(pattern):
    assert check_form({"pattern": pattern}, "/form") == []


def test_what_is_no_pattern_is_refused():
    assert codes(check_form({"pattern": "("}, "/form")) == [("/form/pattern", "bad_pattern")]


def test_an_answer_too_large_for_its_form_is_refused_unread():
    form = {"items": {"anyOf": [{"const": n} for n in range(MAX_FORM_SIZE // 2)]}}
    assert check_form(form, "/form") == []
    assert codes(check_answer(form, ["x"] * 10_000, "/output")) == [("/output", "too_large")]
