"""Queries of this wire: filters that may be repeated, united within a name and narrowed by one another (contract, section 7)."""

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from taskyard.core.errors import Invalid

#: The words of the state filter; ``all`` is an older word for ``current``.
WORDS: Final = frozenset({"waiting", "running", "complete", "incomplete", "current", "all", "archived"})


@dataclass(frozen=True, slots=True)
class Filter:
    """``ids`` of None is any. ``words`` are state words, ``archived`` among them only when it was asked for."""

    ids: frozenset[str] | None
    words: frozenset[str]


def filter_of(request: Request) -> Filter:
    """Raises Invalid for a word that is none; unknown names are passed over."""
    ids: set[str] = set()
    words: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name == "id":
            ids.add(value)
        elif name == "state":
            word = value.lower()
            if word not in WORDS:
                raise Invalid(f"Unknown state: {value}", code="unknown_state")
            words.add(word)
    return Filter(frozenset(ids) if ids else None, frozenset(words or {"current"}))
