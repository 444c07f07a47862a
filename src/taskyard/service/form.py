"""
Forms and answers: JSON Schema, draft 2020-12, within the bounds of :mod:`taskyard.core.form`; or a list of blocks, see
:mod:`taskyard.core.blocks`.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker, SchemaError, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from taskyard.core.blocks import answer_faults, check_blocks
from taskyard.core.errors import Fault
from taskyard.core.form import MAX_MATCHED_LENGTH, MAX_STEPS, check_form_shape, steps, to_pointer
from taskyard.core.task import Json

#: More than a person mends in one go.
MAX_FAULTS: Final = 50
MAX_DETAIL_LENGTH: Final = 300

_formats: Final = FormatChecker(("date", "email", "ipv4", "ipv6", "uuid"))


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _pattern(validator: Any, pattern: str, value: object, _schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(value, "string"):
        return
    if len(str(value)) > MAX_MATCHED_LENGTH:
        yield ValidationError(f"this has more than {MAX_MATCHED_LENGTH} characters, too many for its pattern")
    elif re.search(pattern, str(value)) is None:
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _unique_items(validator: Any, wanted: bool, value: Any, _schema: Any) -> Iterator[ValidationError]:
    # jsonschema compares every pair where the items cannot be sorted, which takes minutes for a large answer.
    if wanted and validator.is_type(value, "array"):
        seen = {json.dumps(_plain(each), sort_keys=True) for each in value}
        if len(seen) < len(value):
            yield ValidationError("the items are not all different")


def _plain(value: Any) -> Any:
    """Return *value* with 1.0 as 1: JSON has one kind of number."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


_Validator: Final = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern, "uniqueItems": _unique_items}
)


def check_form(form: Json, pointer: str) -> list[Fault]:
    """Return what is wrong with *form* as a queue's form, at pointers below *pointer*."""
    if isinstance(form, list):
        return check_blocks(form, pointer)
    faults = check_form_shape(form, pointer)
    if faults:
        return faults
    try:
        _Validator.check_schema(form)
    except SchemaError as error:
        return [_fault(error, pointer)]
    except RecursionError:
        return [Fault(pointer, "too_deep", "the form is nested too deeply")]
    return []


def check_answer(form: Json, answer: Json, pointer: str) -> list[Fault]:
    """Return how *answer* does not keep to *form*, with a pointer to each value that is wrong or missing."""
    if isinstance(form, list):
        return answer_faults(form, answer, pointer)[:MAX_FAULTS]
    if steps(form, answer) > MAX_STEPS:
        return [
            Fault(pointer, "too_large", "the answer is too large to be checked against the form of its queue")
        ]
    try:
        errors = islice(_validator(form).iter_errors(answer), MAX_FAULTS)
        return [_fault(error, pointer) for error in errors]
    except Unresolvable as error:
        return [Fault(pointer, "bad_form", f"the queue's form refers to {error.ref}, which it does not have")]
    except RecursionError:
        return [Fault(pointer, "too_deep", "the answer is nested too deeply")]


def _validator(form: Json) -> Any:
    # An empty registry: nothing is ever fetched.
    return _Validator(form, registry=Registry(), format_checker=_formats)


def _fault(error: ValidationError | SchemaError, pointer: str) -> Fault:
    parts = list(error.absolute_path)
    if error.validator == "required" and isinstance(error.validator_value, list):
        parts += [name for name in error.validator_value if error.message.startswith(repr(name))][:1]
    detail = error.message
    if len(detail) > MAX_DETAIL_LENGTH:
        detail = detail[:MAX_DETAIL_LENGTH] + "…"
    return Fault(to_pointer(pointer, *parts), str(error.validator), detail)
