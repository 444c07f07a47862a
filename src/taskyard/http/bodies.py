"""What comes in, decoded strictly; what is wrong with it is named by a JSON pointer (RFC 6901)."""

import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import fields as struct_fields
from starlette.datastructures import QueryParams

from taskyard.core.errors import Fault, Invalid
from taskyard.http.refusal import Malformed

Shape = TypeVar("Shape")

#: Deeper than any honest document, and far from where a recursive parser or renderer gives up.
MAX_DEPTH: Final = 100
#: Digits of a whole number: Python refuses to print more, and nobody counts so far.
MAX_DIGITS: Final = 4_000

_ESCAPES: Final = re.compile(rb"\\.", re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_DIGITS_ALIKE: Final = bytes(ord("0") if ord("0") <= each <= ord("9") else ord(" ") for each in range(256))
_LONG_NUMBER: Final = b"0" * MAX_DIGITS

_AT: Final = re.compile(r"^(.*?)(?: - at `(.*)`)?$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING: Final = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)
_PART: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class Body(Generic[Shape]):
    """Reads JSON bodies of one shape, a msgspec type."""

    def __init__(self, shape: type[Shape]) -> None:
        self.shape = shape
        self._decoder = msgspec.json.Decoder(shape)

    def read(self, body: bytes) -> Shape:
        """
        Return *body*, decoded.

        Raises:
            Malformed: it is not JSON.
            Invalid: it is JSON of another shape: a member is unknown, missing or of the wrong type.
        """
        check_depth(body)
        try:
            return self._decoder.decode(body or b"{}")
        except msgspec.ValidationError as error:
            fault = fault_of(str(error))
            raise Invalid(fault.detail, code=fault.code, faults=[fault]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise _malformed(error) from None


_anything: Final = Body(Any)


def read_json(body: bytes) -> Any:
    """Return *body*, decoded, whatever it is. Raises Malformed."""
    return _anything.read(body)


def check_depth(body: bytes) -> None:
    """Raises Malformed when *body* is nested deeper than ``MAX_DEPTH``, or holds a number nobody can print."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        brackets = b"".join(_outside_strings(body, drop=_NOT_BRACKETS))
        if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
            raise Malformed(f"the JSON is nested more than {MAX_DEPTH} deep", code="too_deep")
    if _has_long_number(body) and _has_long_number(b'"'.join(_outside_strings(body))):
        raise Malformed(f"a number has more than {MAX_DIGITS:,} digits", code="bad_number")


def _has_long_number(body: bytes) -> bool:
    return len(body) >= MAX_DIGITS and _LONG_NUMBER in body.translate(_DIGITS_ALIKE)


def _outside_strings(body: bytes, drop: bytes = b"") -> list[bytes]:
    """Return what of *body* stands outside its strings, without the bytes to *drop*, of which the quote is none."""
    if b"\\" in body:
        body = _ESCAPES.sub(b"", body)
    return body.translate(None, drop).split(b'"')[::2]


def _malformed(error: Exception) -> Malformed:
    if isinstance(error, UnicodeDecodeError):
        return Malformed("the body is not JSON: it is not UTF-8", code="bad_json")
    detail = str(error)
    if detail == "Input data was truncated":
        detail = "it ends in the middle"
    return Malformed(f"the body is not JSON: {detail.removeprefix('JSON is malformed: ')}", code="bad_json")


def fault_of(message: str) -> Fault:
    """
    Return msgspec's complaint as a fault.

    >>> fault_of("Expected `str`, got `int` - at `$.tasks[2].type`")
    Fault(pointer='/tasks/2/type', code='bad_type', detail='expected str, got int')
    """
    what, where = _AT.fullmatch(message).groups()  # type: ignore[union-attr]
    pointer = pointer_of(where or "$")
    unknown, missing = _UNKNOWN.match(what), _MISSING.match(what)
    if unknown:
        name = unknown[1]
        shown = name if len(name) <= 60 else name[:57] + "…"
        return Fault(f"{pointer}/{_escaped(name)}", "unknown_field", f"there is no member {shown!r} here")
    if missing:
        return Fault(f"{pointer}/{_escaped(missing[1])}", "required", f"{missing[1]} is required")
    code = "bad_type" if what.startswith("Expected `") and ", got `" in what else "bad_value"
    return Fault(pointer, code, what[:1].lower() + what[1:].replace("`", "") if what else "it is not right")


def pointer_of(path: str) -> str:
    """
    Return msgspec's path as a JSON pointer; what it does not tell, the key within a map, is left out.

    >>> pointer_of("$.tasks[2].labels[...]")
    '/tasks/2/labels'
    """
    parts = [name or index for name, index in _PART.findall(path)]
    return "".join(f"/{_escaped(part)}" for part in parts if part != "...")


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


# -- queries ------------------------------------------------------------------------------------------------------------------


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a query may say: a member for each parameter. Lists are separated by commas, or given several times."""


Asked = TypeVar("Asked", bound=Query)


@lru_cache(maxsize=256)
def _parameters(shape: type[Query]) -> dict[str, bool]:
    """Return the parameters by name, and whether each is a list."""
    return {
        field.encode_name: any(get_origin(each) is list for each in (field.type, *get_args(field.type)))
        for field in struct_fields(shape)
    }


def read_query(query: QueryParams, shape: type[Asked], *, but: str | None = None) -> Asked:
    """
    Return the parameters of *query* as *shape*.

    Args:
        but: Parameters that begin with this are somebody else's to read.

    Raises:
        Malformed: a parameter is unknown, given twice, or not of its type.
    """
    known = _parameters(shape)
    given: dict[str, list[str]] = defaultdict(list)
    for name, value in query.multi_items():
        if name in known:
            given[name].append(value)
        elif but is None or not name.startswith(but):
            raise bad_query(
                name,
                f"there is no parameter {_shown(name)} here; there are {', '.join(sorted(known))}",
                "unknown",
            )
    values: dict[str, Any] = {}
    for name, texts in given.items():
        if known[name]:
            values[name] = [part for text in texts for part in text.split(",") if part]
        elif len(texts) > 1:
            raise bad_query(name, f"{name} is given {len(texts)} times; give it once", "repeated")
        else:
            values[name] = texts[0]
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        fault = fault_of(str(error))
        name = fault.pointer.split("/")[1] if "/" in fault.pointer else ""
        raise bad_query(name, f"{name}: {fault.detail}") from None


def bad_query(name: str, detail: str, code: str = "bad_value") -> Malformed:
    return Malformed(detail, code="bad_query", faults=[Fault(f"?{name[:100]}", code, detail)])


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")


# -- times --------------------------------------------------------------------------------------------------------------------


def instant(at: datetime, pointer: str) -> datetime:
    """Return an aware time in UTC. Raises Invalid when it lies outside the years that UTC has."""
    try:
        return at.astimezone(UTC)
    except (OverflowError, ValueError):
        raise Invalid(
            f"{at.isoformat()} is not a time that can be kept", pointer=pointer, code="out_of_range"
        ) from None


def length(seconds: float, pointer: str) -> timedelta:
    """Return a length of time. Raises Invalid when it is more than Python can say, which is 2.7 million years."""
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise Invalid(
            f"{seconds} seconds are not a length of time", pointer=pointer, code="out_of_range"
        ) from None
