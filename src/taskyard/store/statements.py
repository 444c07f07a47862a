"""
Named SQL statements, shared by both databases.

A block begins with ``-- name: word``. Within its text ``{fragment}`` is replaced by what differs between the engines, and:

* ``:name`` is a value;
* ``{any:name}`` matches any element of a list value: ``WHERE number {any:numbers}``;
* ``FROM {given}`` is a relation of rows given by the caller, whose columns (always written ``given.column``) and types a line ``-- given: number bigint, state text``
  declares; ``{locked_given}`` is the same with the rows of ``tasks`` of the same ``number`` locked, in that order;
* ``{where}`` takes the conditions a caller names, each a block that begins with ``-- condition: word``;
* ``{at:name}`` is a time that is the transaction's own where it is NULL: who writes it then need not ask the database first.

A line ``-- usually: the same`` says that a look mostly finds what it found for the same values before, ``-- usually: nothing`` that it
mostly finds no row. Where asking is dear, an engine may go on as if it were so, and ask before it commits.

A block that begins with ``-- fragment: word`` is text that other blocks share as ``{word}``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_BLOCK = re.compile(r"^-- (name|condition|fragment): (\w+)\s*$", re.MULTILINE)
_GIVEN = re.compile(r"^-- given: (.+)$", re.MULTILINE)
_USUALLY = re.compile(r"^-- usually: (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One named block: its text with the engine's fragments still open, the columns of its given rows, and what it usually answers."""

    name: str
    text: str
    given: tuple[tuple[str, str], ...]
    usually: str | None


@dataclass(frozen=True, slots=True)
class Texts:
    """All blocks of a set of files, by kind and name."""

    statements: Mapping[str, Statement]
    conditions: Mapping[str, str]


def parse(*sources: str) -> Texts:
    """
    Return the blocks of the texts of some ``.sql`` files.

    Raises:
        ValueError: a name stands twice.
    """
    kinds: dict[str, dict[str, str]] = {"name": {}, "condition": {}, "fragment": {}}
    for source in sources:
        pieces = _BLOCK.split(source)
        for kind, name, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            if name in kinds[kind]:
                raise ValueError(f"the {kind} {name} stands twice")
            kinds[kind][name] = body
    fragments = {name: _bare(body) for name, body in kinds["fragment"].items()}
    return Texts(
        {
            name: Statement(name, _filled(_bare(body), fragments), _given(body), _usually(body))
            for name, body in kinds["name"].items()
        },
        {name: _bare(body) for name, body in kinds["condition"].items()},
    )


def _bare(body: str) -> str:
    return _COMMENT.sub("", body).strip().rstrip(";")


def _filled(text: str, fragments: Mapping[str, str]) -> str:
    for name, fragment in fragments.items():
        text = text.replace("{" + name + "}", fragment)
    return text


def _given(body: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (column.split()[0], column.split()[1])
        for line in _GIVEN.findall(body)
        for column in line.split(",")
        if column.strip()
    )


def _usually(body: str) -> str | None:
    found = _USUALLY.search(body)
    return found[1] if found else None


@cache
def shared() -> Texts:
    """Return every block of ``sql/*.sql``."""
    folder = files("taskyard.store").joinpath("sql")
    return parse(
        *(
            file.read_text()
            for file in sorted(folder.iterdir(), key=lambda each: each.name)
            if file.name.endswith(".sql")
        )
    )
