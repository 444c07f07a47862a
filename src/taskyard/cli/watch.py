"""``taskyard watch``, and waiting for the end of a task: live bars on a terminal, lines in a pipe."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import click

from taskyard.cli import failing, output
from taskyard.cli.session import SPAN, WATCH_PATIENCE, Session, remote
from taskyard.cli.tasks import progress_of, remark, shown_progress

if TYPE_CHECKING:
    from rich.progress import TaskID

    from taskyard.client import AsyncClient, EventView, TaskView


@click.command("watch")
@click.argument("ids", nargs=-1, metavar="[ID]…")
@click.option("--for", "limit", type=SPAN, metavar="SPAN", help="Give up after this long.")
@click.option("-k", "--kind", help="Without ids: events of this kind alone, such as task.failed.")
@click.option("-q", "--queue", help="Without ids: events of this queue alone.")
@click.option("-t", "--type", help="Without ids: events of tasks of this type alone.")
@click.option("--past", is_flag=True, help="Without ids: begin with the oldest event that is kept.")
@remote
def watch_command(
    session: Session, ids: tuple[str, ...], limit: timedelta | None, past: bool, **filters: Any
) -> int:
    """
    Follow tasks until they end; without an ID, follow everything that happens.

    Ends with 1 when one of the tasks did not succeed.
    """
    if not ids:
        return _follow_feed(session, past, filters)
    if any(filters.values()) or past:
        raise click.UsageError("--kind, --queue, --type and --past are for watching without ids")
    ended = asyncio.run(_follow(session, ids, limit))
    if not session.as_json:
        for task in ended:
            click.echo(f"{task.id} {output.paint(task.state)} {remark(task, session.now())}".rstrip())
    return failing.OK if all(task.succeeded for task in ended) else failing.TASK_FAILED


def wait_for_end(session: Session, id: str, limit: timedelta | None) -> int:
    """Wait for one task and print its output; return the exit code."""
    [task] = asyncio.run(_follow(session, [id], limit, every_change=False))
    if session.as_json:
        output.json_document(task.raw)
    elif task.succeeded:
        output.json_document(task.output)
    else:
        why = f": {task.error.code}: {task.error.message}" if task.error is not None else ""
        click.echo(f"error: task {task.id} {task.state}{why}", err=True)
    return failing.OK if task.succeeded else failing.TASK_FAILED


class Board(Protocol):
    """Where the states of tasks are shown while they change."""

    def show(self, task: "TaskView") -> None: ...


async def _follow(
    session: Session, ids: Sequence[str], limit: timedelta | None, *, every_change: bool = True
) -> list["TaskView"]:
    from taskyard.client import AsyncClient

    board, shown = _board(session, every_change)
    async with AsyncClient(session.url, session.key, patience=WATCH_PATIENCE) as client:
        with shown:
            ends = await asyncio.gather(
                *(_follow_one(client, id, limit, board) for id in dict.fromkeys(ids)), return_exceptions=True
            )
    for end in ends:  # all that could be followed were; what could not is told then
        if isinstance(end, BaseException):
            raise end
    return [end for end in ends if not isinstance(end, BaseException)]


async def _follow_one(client: "AsyncClient", id: str, limit: timedelta | None, board: Board) -> "TaskView":
    last = None
    async for task in client.watch(id, timeout=limit):
        board.show(task)
        last = task
    assert last is not None, "a watch gives at least the task as it is"
    return last


def _board(session: Session, every_change: bool) -> tuple[Board, Any]:
    if session.as_json:
        return _Lines(_print_json if every_change else _print_nothing), nullcontext()
    if not sys.stderr.isatty():
        return _Lines(_print_line if every_change else _print_nothing), nullcontext()
    bars = _Bars()
    return bars, bars.progress


class _Lines:
    def __init__(self, show: Callable[["TaskView"], None]) -> None:
        self.show = show


def _print_nothing(task: "TaskView") -> None:
    """Whoever waits for the output alone is not told how it comes about."""


def _print_json(task: "TaskView") -> None:
    output.json_line(task.raw)


def _print_line(task: "TaskView") -> None:
    said = " ".join(filter(None, [task.id, task.state, shown_progress(task.progress), task.message]))
    click.echo(said, err=True)


class _Bars:
    """One bar per task. A task that says nothing of its progress has a bar that runs to and fro."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.progress: Progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[state]}"),
            BarColumn(),
            TextColumn("{task.fields[share]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            console=output.console(stderr=True),
        )
        self._bars: dict[str, TaskID] = {}

    def show(self, task: "TaskView") -> None:
        if task.id not in self._bars:
            name = f"{task.type} [dim]{task.id[-8:]}[/dim]"
            self._bars[task.id] = self.progress.add_task(name, total=None, state="", share="", message="")
        done, total = progress_of(task.progress)
        if not task.is_open:  # a bar that is over stands still, and is full where the task succeeded
            total = total or 1.0
            done = total if task.succeeded else done or 0.0
        style = output.STYLES.get(task.state, "")
        self.progress.update(
            self._bars[task.id],
            total=total,
            completed=done or 0.0,
            state=f"[{style}]{task.state}[/{style}]" if style else task.state,
            share=shown_progress(task.progress),
            message=(task.message or "") if task.is_open else "",
        )
        if not task.is_open:
            self.progress.stop_task(self._bars[task.id])


def _follow_feed(session: Session, past: bool, filters: dict[str, Any]) -> int:
    from taskyard.client.feed import BEGINNING

    after = BEGINNING if past else None
    with session.client(WATCH_PATIENCE) as client:
        for event in client.events(after=after, **filters):
            if session.as_json:
                output.json_line(event.raw)
            else:
                print_event(event)
    return failing.OK


def print_event(event: "EventView") -> None:
    at = click.style(event.at.astimezone().strftime("%H:%M:%S.%f")[:-3], dim=True)
    said = event.data if isinstance(event.data, dict) else {}
    details = " ".join(f"{name}={value}" for name, value in said.items() if value is not None)
    about = " ".join(filter(None, [event.type, event.subject]))
    click.echo(f"{at} {event.kind:<22} {about} {click.style(details, dim=True)}".rstrip())
    sys.stdout.flush()
