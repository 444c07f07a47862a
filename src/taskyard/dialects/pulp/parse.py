"""Queries of this wire: filters that may be repeated, united within a name and narrowed by one another (contract, section 7)."""

import re
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from taskyard.core.errors import Invalid

#: The words of the state filter; ``all`` is an older word for ``current``.
WORDS: Final = frozenset({"waiting", "running", "complete", "incomplete", "current", "all", "archived"})

#: What an id looks like; anything else is nobody's.
UUID: Final = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True)
class Filter:
    """``ids`` of None is any. ``words`` are state words, ``archived`` among them only when it was asked for."""

    ids: frozenset[str] | None
    words: frozenset[str]


def filter_of(request: Request) -> Filter:
    """Raises Invalid for a word that is none; unknown names are passed over."""
    ids: set[str] = set()
    is_filtered = False
    words: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name == "id":
            is_filtered = True
            ids.update(UUID.findall(value))
        elif name == "state":
            word = value.lower()
            if word not in WORDS:
                raise Invalid(f"Unknown state: {value}", code="unknown_state")
            words.add(word)
    return Filter(frozenset(ids) if is_filtered else None, frozenset(words or {"current"}))


def repositories_of(request: Request) -> frozenset[str] | None:
    """Return which repositories are asked for, None for any. What is repeated is united only where ``_union`` names it."""
    asked = set(request.query_params.getlist("repoid"))
    if not asked:
        return None
    is_united = "repoid" in request.query_params.getlist("_union")
    return frozenset(asked) if is_united or len(asked) == 1 else frozenset()
