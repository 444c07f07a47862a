"""
The form of a queue that people work: a JSON Schema (draft 2020-12) their answers must keep to.

Answers are checked inside a transaction, where nothing may take long, and forms come from users; so what could make a check
take for ever, or reach for the network, is refused when the form is set, and what remains has a bound that can be told
beforehand.
"""

import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]  # the one way to look into a pattern; the public names for it are gone
from typing import Any, Final

from taskyard.core.errors import Fault
from taskyard.core.task import Json

#: Sub-schemas of a form after every reference has been followed. Forms that people fill have some dozens.
MAX_FORM_SIZE: Final = 2_000
#: Text that is matched with a pattern: codes, addresses, phone numbers.
MAX_MATCHED_LENGTH: Final = 256
#: Ways in which a pattern may be tried on such a text before it is given up: well under a second.
MAX_TRIES: Final = 20_000_000
#: Steps of checking one answer: each value of the answer against each sub-schema, a few microseconds a step.
MAX_STEPS: Final = 200_000

#: What would let a form reach outside of itself, or mean something else than it says where it stands.
_OUTSIDE: Final = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "patternProperties")
#: Members whose value is data and not a schema.
_DATA: Final = ("const", "enum", "default", "examples")
#: Members whose value is an object of schemas by names of the form's own.
_OWN_NAMES: Final = ("properties", "$defs", "dependentSchemas")


def to_pointer(base: str, *parts: str | int) -> str:
    """
    Return the JSON pointer (RFC 6901) of *parts* below *base*.

    >>> to_pointer("/output", "a/b", 0)
    '/output/a~1b/0'
    """
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def check_form_shape(form: Json, pointer: str) -> list[Fault]:
    """Return why *form* cannot be used, whatever it says: not an object, reaching outside, without an end, too large."""
    if not isinstance(form, dict):
        return [Fault(pointer, "bad_type", "a form is a JSON object: a JSON Schema, draft 2020-12")]
    try:
        faults = list(_faults(form, form, pointer))
    except RecursionError:
        return [Fault(pointer, "too_deep", "the form is nested too deeply")]
    if not faults:
        size = form_size(form)
        if size is None:
            faults.append(Fault(pointer, "form_loops", "the form refers to itself, so it has no end"))
        elif size > MAX_FORM_SIZE:
            faults.append(
                Fault(
                    pointer, "too_large", f"the form has more than {MAX_FORM_SIZE:,} parts; make it smaller"
                )
            )
    return faults


def form_size(form: Json) -> int | None:
    """Return how many parts *form* has with every reference followed, counted a little past what is allowed; None for a loop."""
    try:
        return _size(form, form, ())
    except RecursionError:
        return None


def steps(form: Json, answer: Json) -> int:
    """Return a bound of the steps that checking *answer* takes."""
    return (form_size(form) or 0) * _values(answer)


def tries(pattern: str) -> int:
    """
    Return a bound of the ways a pattern may be tried on a text of :data:`MAX_MATCHED_LENGTH`.

    >>> tries("^[A-Z]{2}[0-9]{6}$")
    1
    >>> tries("^(a+)+$") > MAX_TRIES
    True

    Raises:
        re.error: it is not a pattern.
    """
    parsed = _parser.parse(pattern)
    anchored = bool(parsed) and str(parsed[0][0]) == "AT" and str(parsed[0][1]).startswith("AT_BEGINNING")
    return _tries(parsed) * (1 if anchored else MAX_MATCHED_LENGTH)


def _faults(root: Json, node: Json, pointer: str, *, own_names: bool = False) -> Iterator[Fault]:
    """Walk a form. ``own_names`` says that the names in *node* are the form's own and not JSON Schema's."""
    if isinstance(node, list):
        for index, each in enumerate(node):
            yield from _faults(root, each, to_pointer(pointer, index))
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        here = to_pointer(pointer, name)
        if own_names:
            yield from _faults(root, value, here)
            continue
        if name in _OUTSIDE:
            yield Fault(here, "unsupported", f"{name} cannot be used in a form")
        elif name == "$ref":
            yield from _reference_faults(root, value, here)
        elif name == "pattern" and isinstance(value, str):
            yield from _pattern_faults(value, here)
        if name not in _DATA:
            yield from _faults(root, value, here, own_names=name in _OWN_NAMES)


def _reference_faults(root: Json, ref: Json, pointer: str) -> Iterator[Fault]:
    if not isinstance(ref, str) or not ref.startswith("#/") or "%" in ref:
        yield Fault(pointer, "unsupported", "a form can only refer to a part of itself: #/$defs/…")
    elif _at(root, ref) is None:
        yield Fault(pointer, "bad_reference", f"the form has nothing at {ref}")


def _pattern_faults(pattern: str, pointer: str) -> Iterator[Fault]:
    try:
        ways = tries(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield Fault(pointer, "bad_pattern", f"this is not a pattern: {error}")
        return
    if ways > MAX_TRIES:
        yield Fault(
            pointer,
            "slow_pattern",
            "this pattern can take for ever to match; bind it with ^, and repeat nothing that can vary itself",
        )


def _tries(parsed: Any) -> int:
    """Return the product of the choices a pattern offers; a repeated choice multiplies with itself."""
    ways = 1
    for op, argument in parsed:
        match str(op):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = argument
                most = min(int(most), MAX_MATCHED_LENGTH)
                once = _tries(inner)
                ways *= max(1, most - int(least) + 1) * (once ** min(most, 32) if once > 1 else 1)
            case "BRANCH":
                ways *= sum(_tries(each) for each in argument[1])
            case "SUBPATTERN":
                ways *= _tries(argument[-1])
            case "ASSERT" | "ASSERT_NOT":
                ways *= _tries(argument[1])
            case "ATOMIC_GROUP":
                ways *= _tries(argument)
            case "GROUPREF_EXISTS":
                ways *= sum(_tries(each) for each in argument[1:] if each is not None)
            case _:
                continue
        if ways > MAX_TRIES:
            return MAX_TRIES + 1
    return ways


def _size(root: Json, node: Json, above: tuple[str, ...]) -> int:
    if isinstance(node, list):
        return _sum(root, node, above)
    if not isinstance(node, dict):
        return 0
    size = 1 + _sum(root, list(node.values()), above)  # data too: what is data by its name may be a property
    ref = node.get("$ref")
    if isinstance(ref, str) and size <= MAX_FORM_SIZE:
        if ref in above:
            raise RecursionError
        size += _size(root, _at(root, ref), (*above, ref))
    return size


def _sum(root: Json, nodes: list[Json], above: tuple[str, ...]) -> int:
    total = 0
    for node in nodes:
        total += _size(root, node, above)
        if total > MAX_FORM_SIZE:
            break
    return total


def _at(root: Json, ref: str) -> Json:
    """Return what a reference means; None when there is nothing there."""
    for part in ref.removeprefix("#/").split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(root, dict):
            root = root.get(part)
        elif isinstance(root, list) and part.isdecimal() and int(part) < len(root):
            root = root[int(part)]
        else:
            return None
    return root


def _values(answer: Json) -> int:
    count, level = 0, [answer]
    while level:
        count += len(level)
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
    return count
