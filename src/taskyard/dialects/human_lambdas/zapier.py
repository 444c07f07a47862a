"""Blocks as the fields of a connector's form, and samples of what they hold."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskyard.core.blocks import block_id, config_of

_TYPES: Final[Mapping[str, str]] = {"number": "number", "binary": "boolean"}
_TEXT: Final = {"key": "text", "label": "Text", "type": "string"}
_ENTITIES: Final = {
    "key": "entities",
    "label": "Entities",
    "type": "string",
    "helpText": "Optional field, in JSON format.See the Human Lambdas docs for more details.",
}
_SAMPLES: Final[Mapping[str, Any]] = {
    "text": "Some text",
    "rich_text": "Some text",
    "number": 1,
    "date": "2021-01-01",
    "email": "joe@example.com",
    "binary": True,
    "text_sequence": ["First", "Second"],
    "list": [],
    "named_entity_recognition": {"text": "Some text", "entities": []},
    "bounding_boxes": {"image": "https://example.com/image.png", "objects": []},
}
_LINK: Final = "https://example.com"


def child(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field in which a value of *block* is asked for."""
    kind, field = block["type"], {"key": block_id(block), "label": block["name"]}
    if kind == "named_entity_recognition":
        return {**field, "children": [_TEXT, _ENTITIES]}
    field = {**field, "type": _TYPES.get(kind, "string")}
    match kind:
        case "single_selection":
            return {**field, "choices": _choices(block)}
        case "multiple_selection":
            return {**field, "choices": _choices(block), "list": True}
        case "form_sequence":
            return {**field, "dict": True}
        case _:
            return field


def _choices(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"label": name, "value": id, "sample": id} for id, name in _options(block)]


def _options(block: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return (id, name) of the options of a selection; what is no object is both."""
    options = config_of(block).get("options") or []
    return [
        (each.get("id"), each.get("name", each.get("id"))) if isinstance(each, dict) else (each, each)
        for each in options
    ]


def samples(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a value for each block: its placeholder, or what one of its type looks like."""
    return {block_id(block): _sample(block) for block in blocks}


def _sample(block: Mapping[str, Any]) -> Any:
    config, kind = config_of(block), block["type"]
    if config.get("placeholder") is not None:
        return config["placeholder"]
    match kind:
        case "single_selection" | "multiple_selection":
            first = [id for id, _ in _options(block)][:1]
            return first if kind == "multiple_selection" else next(iter(first), None)
        case "form_sequence":
            return samples(config.get("data") or [])
        case _:
            return _SAMPLES.get(kind, _LINK)
