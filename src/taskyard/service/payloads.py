"""What is handed over, made fit to be stored: refused where its sender can mend it, cut where it must be kept whatever it is."""

from typing import Any, Final

from taskyard.core.errors import Invalid, TooLarge
from taskyard.core.task import Json
from taskyard.store.values import from_json, json_text

#: Deep enough for any data, and far from the depth at which a reader with a deep stack of its own could not decode it.
MAX_DEPTH: Final = 200
NUL: Final = "\0"


def fitting(what: str, value: Json, most_bytes: int, *, pointer: str = "") -> str | None:
    """
    Return *value* as JSON text; None for None.

    Raises:
        Invalid: it cannot be written as JSON, or not be read again.
        TooLarge: the text has more than *most_bytes*.
    """
    try:
        text = json_text(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(
            f"{what} cannot be written as JSON: {error}", pointer=pointer, code="not_json"
        ) from None
    if text is None:
        return None
    size = len(text) if text.isascii() else len(text.encode())
    if size > most_bytes:
        raise TooLarge(what, size, most_bytes)
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(text):
        raise Invalid(f"{what} is nested deeper than {MAX_DEPTH} levels", pointer=pointer, code="too_deep")
    return text


def _is_deep(text: str) -> bool:
    try:
        level: list[Any] = [from_json(text)]
    except RecursionError:
        return True
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inner if isinstance(each, (dict, list))]


def beginning(text: str, most_bytes: int) -> str:
    """Return the first *most_bytes* of *text*, with what no database can keep shown as an escape."""
    return _storable(text)[:most_bytes].decode(errors="ignore")


def end(text: str, most_bytes: int) -> str:
    """Return the last *most_bytes* of *text*, with what no database can keep shown as an escape."""
    storable = _storable(text)
    return storable[max(0, len(storable) - most_bytes) :].decode(errors="ignore")


def _storable(text: str) -> bytes:
    return text.replace(NUL, "\\0").encode(errors="backslashreplace")
