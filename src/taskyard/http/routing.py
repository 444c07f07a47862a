"""Paths: which of a table matches, with what is percent-encoded kept apart from what divides."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

Answer = TypeVar("Answer")

_NAME: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
#: What a ``{name:kind}`` matches, and what becomes of it. A plain name is one segment, however it is encoded.
_KINDS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "": (r"[^/]+", str),
    "str": (r"[^/]+", str),
    "int": (r"[0-9]{1,18}", int),
    "path": (r".*", str),
    "uuid": (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", str),
}


class Table(Generic[Answer]):
    """
    A table of patterns, asked by path; the first that matches answers.

    Names are matched before they are decoded, so ``/queues/a%2Fb:pause`` pauses the queue ``a/b``, and ``%3A`` in a name
    is no verb. A client that encodes more than it must, ``/tasks%3Abatch``, is understood all the same.
    """

    def __init__(self, entries: Sequence[tuple[str, Answer]]) -> None:
        self._fixed: dict[str, Answer] = {}
        self._patterns: list[tuple[re.Pattern[str], Mapping[str, Callable[[str], Any]], Answer]] = []
        for pattern, answer in entries:
            if "{" in pattern:
                self._patterns.append((*_compiled(pattern), answer))
            else:
                self._fixed.setdefault(pattern, answer)

    def find(self, scope: Scope) -> tuple[Answer, dict[str, Any]] | None:
        raw = scope.get("raw_path")
        path = raw.decode("latin-1") if raw else quote(scope["path"])
        found = self._look(path)
        if found is None and "%" in path:
            return self._look(scope["path"])
        return found

    def _look(self, path: str) -> tuple[Answer, dict[str, Any]] | None:
        if path in self._fixed:
            return self._fixed[path], {}
        for pattern, kinds, answer in self._patterns:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            try:
                return answer, {name: made(_decoded(match[name])) for name, made in kinds.items()}
            except UnicodeDecodeError:
                return None
        return None


def _compiled(pattern: str) -> tuple[re.Pattern[str], Mapping[str, Callable[[str], Any]]]:
    kinds: dict[str, Callable[[str], Any]] = {}
    text, end = "", 0
    for name in _NAME.finditer(pattern):
        matches, kinds[name[1]] = _KINDS[name[2] or ""]
        text += re.escape(pattern[end : name.start()]) + f"(?P<{name[1]}>{matches})"
        end = name.end()
    return re.compile(text + re.escape(pattern[end:]), re.DOTALL), kinds


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode() if "%" in text else text
