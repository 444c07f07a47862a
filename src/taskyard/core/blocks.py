"""
Blocks: a form as a list of typed fields, each with an id, a name and settings below the name of its type.

A queue whose form is such a list is worked block by block: a task brings some of the values, a person adds the others.
Values are kept as they are shown to programs, one for each block by its id; what is absent is null, or empty.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from math import isfinite
from typing import Any, Final

from taskyard.core.errors import Fault
from taskyard.core.task import Json

MAX_BLOCKS: Final = 500
#: More than any number, word or short list takes; what is longer is not even looked at.
MAX_LITERAL_LENGTH: Final = 10_000
#: Boxes are kept as hundredths of a percent of their picture.
BOX_DIGITS: Final = 4

_URL: Final = re.compile(r"https?://[^\s/?#]*\.[A-Za-z0-9]{1,6}")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
_ISO: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{3}(?:\d{3})?)?)?(?:[+-]\d{2}:\d{2})?)?"
)


class Unfit(Exception):
    """A value that is not of its block's type; the text says why, naming the block."""


def check_blocks(blocks: Json, pointer: str) -> list[Fault]:
    """Return what is wrong with *blocks* as a form."""
    if not isinstance(blocks, list) or not blocks:
        return [Fault(pointer, "bad_type", "blocks are a list of at least one block")]
    if len(blocks) > MAX_BLOCKS:
        return [Fault(pointer, "too_many", f"a form has at most {MAX_BLOCKS} blocks")]
    faults: list[Fault] = []
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        here = f"{pointer}/{index}"
        fault = _block_fault(block, here)
        if fault is None and str(block["id"]) in seen:
            fault = Fault(f"{here}/id", "repeated", f"there is another block {block['id']}")
        if fault is not None:
            faults.append(fault)
            continue
        seen.add(str(block["id"]))
    return faults


def _block_fault(block: Json, pointer: str) -> Fault | None:
    if not isinstance(block, dict):
        return Fault(pointer, "bad_type", "a block is an object")
    id = block.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        return Fault(
            f"{pointer}/id", "bad_type", "a block has an id: text that is not empty, or a whole number"
        )
    if not isinstance(block.get("name"), str) or not block["name"]:
        return Fault(f"{pointer}/name", "bad_type", "a block has a name: text that is not empty")
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in CHECKS:
        return Fault(f"{pointer}/type", "unknown_type", f"a block's type is one of {', '.join(CHECKS)}")
    config = block.get(kind, {})
    if not isinstance(config, dict):
        return Fault(f"{pointer}/{kind}", "bad_type", "the settings of a block are an object")
    if kind in ("single_selection", "multiple_selection") and not isinstance(config.get("options"), list):
        return Fault(
            f"{pointer}/{kind}/options", "required", "Selection blocks should have a list of options"
        )
    if kind == "form_sequence":
        return _questions_fault(config, f"{pointer}/{kind}")
    if kind in _WITH_SAMPLES and config.get("placeholder") is not None:
        try:
            CHECKS[kind](str(id), config, config["placeholder"])
        except Unfit as unfit:
            return Fault(f"{pointer}/{kind}/placeholder", "bad_value", str(unfit))
    return None


def _questions_fault(config: Mapping[str, Any], pointer: str) -> Fault | None:
    questions = config.get("data", [])
    if not isinstance(questions, list) or len(questions) > MAX_BLOCKS:
        return Fault(f"{pointer}/data", "bad_type", "the questions of a sequence are a list of blocks")
    for index, question in enumerate(questions):
        here = f"{pointer}/data/{index}"
        if isinstance(question, dict) and question.get("type") == "form_sequence":
            return Fault(f"{here}/type", "bad_type", "a question is not a sequence of questions itself")
        fault = _block_fault(question, here)
        if fault is not None:
            return fault
    return None


def block_id(block: Mapping[str, Any]) -> str:
    return str(block["id"])


def config_of(block: Mapping[str, Any]) -> Mapping[str, Any]:
    config = block.get(block["type"])
    return config if isinstance(config, dict) else {}


def taken(blocks: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> dict[str, Json]:
    """
    Return the value of every block, in the order of the blocks; what is in *data* and no block's is left out.

    Raises:
        Unfit: a value is not of its block's type; the first, in the order of the blocks.
    """
    return {
        block_id(block): fit(block, data.get(block_id(block)), given=block_id(block) in data)
        for block in blocks
    }


def fit(block: Mapping[str, Any], value: Json, *, given: bool = True) -> Json:
    """Return *value* as *block* keeps it. Raises Unfit."""
    kind = block["type"]
    if not given:
        value = _absent(kind)
    if value is None and kind not in _NEVER_NULL:
        return None
    return CHECKS[kind](block_id(block), config_of(block), value)


def answer_faults(blocks: Sequence[Mapping[str, Any]], answer: Json, pointer: str) -> list[Fault]:
    """Return what is wrong with the values a person gives: a fault for each, unknown blocks included."""
    if not isinstance(answer, dict):
        return [Fault(pointer, "bad_type", "an answer to blocks is an object: a value for each block's id")]
    known = {block_id(block): block for block in blocks}
    faults: list[Fault] = []
    for id, value in answer.items():
        here = f"{pointer}/" + id.replace("~", "~0").replace("/", "~1")
        if id not in known:
            faults.append(Fault(here, "unknown_block", f"the form has no block {id[:100]!r}"))
            continue
        try:
            fit(known[id], value)
        except Unfit as unfit:
            faults.append(Fault(here, "bad_value", str(unfit)[:300]))
    return faults


def merged(blocks: Sequence[Mapping[str, Any]], given: Json, answer: Json) -> dict[str, Json]:
    """
    Return the values of a task: what it was *given*, with those of *answer* in their place.

    Total: a value of another shape, kept before the blocks were changed, is shown as absent.
    """
    data = {**(given if isinstance(given, dict) else {}), **(answer if isinstance(answer, dict) else {})}
    values: dict[str, Json] = {}
    for block in blocks:
        id = block_id(block)
        try:
            values[id] = fit(block, data.get(id), given=id in data)
        except Unfit:
            values[id] = _absent(block["type"], or_else={})
    return values


def _absent(kind: str, *, or_else: Json = None) -> Json:
    match kind:
        case "list":
            return []
        case "named_entity_recognition":
            return {"text": None, "entities": []}
        case "bounding_boxes":
            return {"image": None, "objects": []}
        case "form_sequence":
            return {} if or_else is None else or_else
        case _:
            return None


# -- a check for each type: (id, settings, value) → the value as it is kept ------------------------------------------------------


def _text(id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if not isinstance(value, str):
        raise Unfit(f"Data item with id {id} must be a string")
    return value


def _number(id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if isinstance(value, str):
        value = _literal(value)
    if value is None or value is False or value == []:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Unfit(f"Data item with id {id} is of type number thus should be a float or a integer")
    return value


def _date(id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if value == "":
        return value
    if isinstance(value, str) and _ISO.fullmatch(value) and value.isascii():
        try:
            (date if len(value) == 10 else datetime).fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
    raise Unfit(f"Data item with id {id} is not a valid ISO-8601 string.")


def _email(_id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if value == "" or (isinstance(value, str) and len(value) <= 320 and _EMAIL.fullmatch(value)):
        return value
    raise Unfit(f"Invalid email value:{value}")


def _url(_id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if value == "" or (isinstance(value, str) and _URL.match(value[:2_000])):
        return value
    raise Unfit(f"Invalid url value: {value}")


def _binary(id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if isinstance(value, bool) or value in ("True", "False", "None"):
        return value
    if isinstance(value, str):
        value = _literal(value)
    raise Unfit(f"Invalid value for binary id {id}")


def _single(id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if not isinstance(value, str):
        raise Unfit(f"Single Selection with id {id} is not a string")
    return value


def _strings(what: str) -> Callable[[str, Mapping[str, Any], Json], Json]:
    def check(id: str, _config: Mapping[str, Any], value: Json) -> Json:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise Unfit(f"{what} with id {id} is not a list of strings")
        return value

    return check


def _list(id: str, config: Mapping[str, Any], value: Json) -> Json:
    if value is None:
        return []
    if isinstance(value, str):
        value = _literal(value)
    if not isinstance(value, list):
        raise Unfit(f"Data item with id {id} is of type list thus should be a list")
    values = [each["value"] if isinstance(each, dict) and "value" in each else each for each in value]
    if config.get("subtype") != "number":
        return values
    numbers = []
    for each in values:
        try:
            numbers.append(float(each))
        except (TypeError, ValueError, OverflowError):
            raise Unfit(f"The value provided is not in right format: {each}") from None
        if not isfinite(numbers[-1]):
            raise Unfit(f"The value provided is not in right format: {each}")
    return numbers


def _entities(id: str, _config: Mapping[str, Any], value: Json) -> Json:
    if value is None:
        return _absent("named_entity_recognition")
    if isinstance(value, str):
        return {"text": value, "entities": []}
    if not isinstance(value, dict) or not isinstance(value.get("text"), str | None):
        raise Unfit(f"Data item with id {id} is missing 'text' or is not a string.")
    entities = value.get("entities") or []
    if not isinstance(entities, list):
        raise Unfit(f"Data item with id {id} doesn't have a list of entities.")
    return {"text": value.get("text"), "entities": [_entity(each) for each in entities]}


def _entity(entity: Json) -> Json:
    if isinstance(entity, dict):
        category = entity.get("category", entity.get("tag"))
        whole = all(
            isinstance(entity.get(name), int) and entity[name] is not True for name in ("start", "end")
        )
        if whole and isinstance(category, str):
            rest = {name: each for name, each in entity.items() if name not in _ENTITY}
            return {"start": entity["start"], "end": entity["end"], "category": category, **rest}
    raise Unfit(f"Entity {entity} missing one or more properties.")


_ENTITY: Final = frozenset({"start", "end", "category", "tag", "color", "text"})


def _boxes(id: str, config: Mapping[str, Any], value: Json) -> Json:
    if not isinstance(value, dict):
        raise Unfit(f"Data item with id {id} must be an object.")
    image = value.get("image")
    objects = value.get("objects") or []
    if image is not None:
        _url(id, config, image)
    if not isinstance(objects, list) or not all(_is_box(each) for each in objects):
        raise Unfit(f"Data item with id {id} doesn't have a valid object in 'objects'.")
    rounded = [{**each, **{side: round(each[side], BOX_DIGITS) for side in "xywh"}} for each in objects]
    return {"image": image, "objects": rounded}


def _is_box(box: Json) -> bool:
    return (
        isinstance(box, dict)
        and isinstance(box.get("category"), str)
        and all(
            isinstance(box.get(s), int | float) and not isinstance(box[s], bool) and isfinite(box[s])
            for s in "xywh"
        )
    )


def _sequence(id: str, config: Mapping[str, Any], value: Json) -> Json:
    if not isinstance(value, dict):
        raise Unfit(f"Data item with id {id} must be an object.")
    return taken(config.get("data") or [], value)


def _literal(text: str) -> Json:
    """Return what *text* says as a literal of Python: how these forms have always taken numbers and lists from text."""
    try:
        if len(text) > MAX_LITERAL_LENGTH:
            raise ValueError
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise Unfit(f"The value provided is not in right format: {text[:1_000]}") from None
    if not _is_json(value):
        raise Unfit(f"The value provided is not in right format: {text[:1_000]}")
    return value


def literal(text: str) -> Json:
    """Return the value of a cell of a table: a literal of Python; nothing when it is empty. Raises Unfit."""
    return None if text == "" else _literal(text)


def _is_json(value: object) -> bool:
    match value:
        case None | bool() | int() | str():
            return True
        case float():
            return isfinite(value)
        case list():
            return all(_is_json(each) for each in value)
        case dict():
            return all(isinstance(name, str) and _is_json(each) for name, each in value.items())
        case _:
            return False


CHECKS: Final[Mapping[str, Callable[[str, Mapping[str, Any], Json], Json]]] = {
    "text": _text,
    "number": _number,
    "date": _date,
    "email": _email,
    "link": _url,
    "image": _url,
    "audio": _url,
    "video": _url,
    "pdf": _url,
    "embed": _url,
    "rich_text": _text,
    "binary": _binary,
    "single_selection": _single,
    "multiple_selection": _strings("Multiple Selection"),
    "text_sequence": _strings("Text Sequence Block"),
    "list": _list,
    "named_entity_recognition": _entities,
    "bounding_boxes": _boxes,
    "form_sequence": _sequence,
}
_NEVER_NULL: Final = frozenset({"list", "named_entity_recognition", "bounding_boxes", "form_sequence"})
_WITH_SAMPLES: Final = frozenset({"date", "email", "link", "image", "audio", "video", "pdf", "embed"})
#: Types whose values are text in a table as they are; the others are literals.
PLAIN: Final = frozenset(
    {
        "text",
        "rich_text",
        "date",
        "email",
        "link",
        "image",
        "audio",
        "video",
        "pdf",
        "embed",
        "single_selection",
    }
)
