"""What each type of block takes, how it is kept, and what is said of what it does not take."""

import pytest

from taskyard.core.blocks import CHECKS, Unfit, check_blocks, fit, merged, taken

QUESTIONS = [
    {"id": "q1", "name": "1", "type": "binary"},
    {"id": "q2", "name": "2", "type": "text"},
    {"id": "q3", "name": "3", "type": "single_selection", "single_selection": {"options": []}},
]
BOX = {"x": 0.1, "y": 0.2, "w": 0.5, "h": 0.123456, "category": "cat"}
NOTHING = object()


def block(kind, **config):
    return {"id": "b", "name": "B", "type": kind, kind: config}


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("text", "", ""),
        ("number", 5, 5),
        ("number", "1.5e3", 1500.0),
        ("number", "0x10", 16),
        ("number", None, None),
        ("date", "2020-01-31", "2020-01-31"),
        ("date", "2020-01-31T10:00:00+02:00", "2020-01-31T10:00:00+02:00"),
        ("date", "", ""),
        ("date", NOTHING, None),
        ("email", "a@b.com", "a@b.com"),
        ("email", "", ""),
        ("link", "https://a.co/x.png", "https://a.co/x.png"),
        ("image", "http://10.0.0.1/x", "http://10.0.0.1/x"),
        ("embed", "", ""),
        ("binary", False, False),
        ("binary", "True", "True"),
        ("single_selection", "zzz", "zzz"),
        ("multiple_selection", [], []),
        ("multiple_selection", ["a", "zzz"], ["a", "zzz"]),
        ("text_sequence", ["Foo", "Bar"], ["Foo", "Bar"]),
        ("list", "['a']", ["a"]),
        ("list", [{"value": 1}], [1]),
        ("list", NOTHING, []),
        ("named_entity_recognition", NOTHING, {"text": None, "entities": []}),
        ("named_entity_recognition", "Bob runs", {"text": "Bob runs", "entities": []}),
        (
            "named_entity_recognition",
            {"text": "Bob", "entities": [{"start": 0, "end": 3, "tag": "PER", "color": "red"}]},
            {"text": "Bob", "entities": [{"start": 0, "end": 3, "category": "PER"}]},
        ),
        ("bounding_boxes", NOTHING, {"image": None, "objects": []}),
        (
            "bounding_boxes",
            {"image": "https://a.co/i.png", "objects": [BOX]},
            {"image": "https://a.co/i.png", "objects": [{**BOX, "h": 0.1235}]},
        ),
    ],
)
def test_what_fits_is_kept(kind, value, kept):
    made = taken([block(kind)], {} if value is NOTHING else {"b": value})
    assert made == {"b": kept}
    assert type(made["b"]) is type(kept)


def test_lists_of_numbers_and_sequences_of_questions():
    assert fit(block("list", subtype="number"), ["1", 2.5]) == [1.0, 2.5]
    sequence = block("form_sequence", data=QUESTIONS)
    assert fit(sequence, {"q1": True, "zz": 1}) == {"q1": True, "q2": None, "q3": None}
    assert taken([sequence], {}) == {"b": {"q1": None, "q2": None, "q3": None}}
    with pytest.raises(Unfit, match="Data item with id q2 must be a string"):
        fit(sequence, {"q2": 5})


FORMAT = "The value provided is not in right format: "
NUMBER = "Data item with id b is of type number thus should be a float or a integer"
DATE = "Data item with id b is not a valid ISO-8601 string."
BOXES = "Data item with id b must be an object."


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("text", 5, "Data item with id b must be a string"),
        ("rich_text", 5, "Data item with id b must be a string"),
        ("number", "abc", FORMAT + "abc"),
        ("number", "", FORMAT),
        ("number", "1" + "+1" * 6000, None),
        ("number", "9**9**9", FORMAT + "9**9**9"),
        ("number", True, NUMBER),
        ("number", [1], NUMBER),
        ("date", "2020-01-31T10:00:00Z", DATE),
        ("date", "20200131", DATE),
        ("date", "2020-02-31", DATE),
        ("date", 5, DATE),
        ("email", "bad", "Invalid email value:bad"),
        ("email", 5, "Invalid email value:5"),
        ("link", "http://localhost/x", "Invalid url value: http://localhost/x"),
        ("link", "a.co", "Invalid url value: a.co"),
        ("pdf", "ftp://a.co/x", "Invalid url value: ftp://a.co/x"),
        ("video", {"a": 1}, "Invalid url value: {'a': 1}"),
        ("binary", 1, "Invalid value for binary id b"),
        ("binary", "true", FORMAT + "true"),
        ("binary", [], "Invalid value for binary id b"),
        ("single_selection", ["a"], "Single Selection with id b is not a string"),
        ("multiple_selection", "a", "Multiple Selection with id b is not a list of strings"),
        ("text_sequence", [1], "Text Sequence Block with id b is not a list of strings"),
        ("list", 5, "Data item with id b is of type list thus should be a list"),
        (
            "named_entity_recognition",
            {"text": 5},
            "Data item with id b is missing 'text' or is not a string.",
        ),
        (
            "named_entity_recognition",
            {"text": "Bob", "entities": [{"start": 0, "end": 3}]},
            "Entity {'start': 0, 'end': 3} missing one or more properties.",
        ),
        ("bounding_boxes", None, BOXES),
        ("bounding_boxes", "https://a.co/i.png", BOXES),
        ("bounding_boxes", {"image": "bad"}, "Invalid url value: bad"),
        (
            "bounding_boxes",
            {"objects": [{"x": 0.1}]},
            "Data item with id b doesn't have a valid object in 'objects'.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(kind, value, said):
    with pytest.raises(Unfit) as refusal:
        taken([block(kind)], {"b": value})
    assert said is None or str(refusal.value) == said


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, "", "x", "[" * 500, [], [None], [[1]], {}, {"a": 1}, {"text": {}}, {"objects": 1}],
)
def test_nothing_breaks_a_check_and_what_is_kept_fits_again(kind, value):
    try:
        kept = fit(block(kind), value)
    except Unfit:
        return
    assert fit(block(kind), kept) == kept


@pytest.mark.parametrize("kind", CHECKS)
def test_what_was_kept_before_the_blocks_changed_is_shown_as_absent(kind):
    assert list(merged([block(kind)], {"b": object()}, None)) == ["b"]


def test_a_form_has_blocks_with_different_ids_of_known_types():
    assert check_blocks([block("text")], "/form") == []
    assert [fault.pointer for fault in check_blocks([block("text"), block("date")], "/form")] == [
        "/form/1/id"
    ]
    assert check_blocks([], "/form")
    assert check_blocks([block("single_selection")], "/form")
    assert check_blocks([block("date", placeholder="soon")], "/form")
