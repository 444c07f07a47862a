"""
What is printed: tables and bars for people, JSON for pipes.

rich is imported where it is used: a command that prints one line must not wait for it.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from taskyard.core.task import Json

if TYPE_CHECKING:
    from rich.console import Console

#: Wide enough for any row: what reads a pipe breaks lines itself, if it wants them broken.
PIPE_WIDTH: Final = 1000
#: What of a value is shown beside others.
BRIEF_LENGTH: Final = 200
STYLES: Final[Mapping[str, str]] = {
    "scheduled": "cyan",
    "ready": "blue",
    "suspended": "yellow",
    "running": "bold blue",
    "succeeded": "green",
    "failed": "bold red",
    "canceled": "dim",
}


def console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PIPE_WIDTH)


def json_line(value: Json) -> None:
    """Print one line of JSON, at once: whoever reads it may act on it before the next."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain))
    sys.stdout.flush()


def json_document(value: Json) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table; ``*column`` is never cut short. With no rows, print *empty* to standard error instead."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        note(empty)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    page = console()
    grid = Table(box=None if not page.is_terminal else box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        grid.add_column(
            column.lstrip("*").upper(), no_wrap=True, overflow="fold" if column[0] == "*" else "ellipsis"
        )
    for row in cells:
        grid.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    page.print(grid)


def record(members: Iterable[tuple[str, object]]) -> None:
    """Print ``name  value`` lines; what is None or empty is left out."""
    shown = [(name, _cell(value)) for name, value in members if value not in (None, "", {}, [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        indented = text.replace("\n", "\n" + " " * (width + 2))
        if text in STYLES:
            indented = paint(text)
        click.echo(f"{name.ljust(width)}  {indented}")


def paint(state: str) -> str:
    """Return a state's word in its colour; click takes colours out where nobody sees them."""
    style = STYLES.get(state, "")
    colour = style.split()[-1] if style and style != "dim" else None
    return click.style(state, fg=colour, bold=style.startswith("bold"), dim=style == "dim")


def note(text: str) -> None:
    """Tell a person something that is not part of the answer."""
    click.echo(text, err=True)


def hint(text: str) -> None:
    """As :func:`note`, where a person is looking."""
    if sys.stderr.isatty():
        click.secho(text, err=True, dim=True)


def brief(value: Json) -> str:
    """Return *value* as one line of JSON, cut where it is long; all of it is had by ``--json``."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= BRIEF_LENGTH else text[: BRIEF_LENGTH - 1] + "…"


def ago(at: datetime | None, now: datetime) -> str:
    """
    >>> ago(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 0, 5, tzinfo=UTC))
    '5m ago'
    """
    if at is None:
        return ""
    past = now - at
    return f"{length(past)} ago" if past >= timedelta(0) else f"in {length(-past)}"


def length(span: timedelta | None) -> str:
    """
    Return *span* in its two greatest units.

    >>> length(timedelta(seconds=93784)), length(timedelta(milliseconds=12))
    ('1d 2h', '12ms')
    """
    if span is None:
        return ""
    if span < timedelta(seconds=1):
        return f"{span // timedelta(milliseconds=1)}ms"
    if span < timedelta(seconds=10):
        return f"{span.total_seconds():.1f}s"
    seconds = int(span.total_seconds())
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    return " ".join(parts[:2])


def seconds_length(seconds: float | None) -> str:
    return "" if seconds is None else length(timedelta(seconds=seconds))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().isoformat(sep=" ", timespec="seconds")
    if isinstance(value, timedelta):
        return length(value)
    if isinstance(value, int | float):
        return f"{value:,}"
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} is no JSON")
