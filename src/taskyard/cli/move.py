"""``taskyard move``: from a file to PostgreSQL."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskyard.cli import failing, output

if TYPE_CHECKING:
    from taskyard.store.moving import Compared, Move


@click.command("move")
@click.option("--from", "source", required=True, metavar="URL", help="sqlite:///file.db")
@click.option("--to", "target", metavar="URL", help="postgresql://…, an empty database.")
@click.option("--give-up", is_flag=True, help="Let the file be used again, and leave the target as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def move_command(source: str, target: str | None, give_up: bool, as_json: bool) -> int:
    """
    Move a yard with its whole history from a file to PostgreSQL, and prove the two equal.

    The file takes no writes any more. Killed, it is run again and goes on where it was.
    """
    from taskyard.store.moving import Move, freed
    from taskyard.store.opening import open_database

    if give_up:
        freed(Path(source.removeprefix("sqlite:///")))
        output.note("the file may be used again")
        return failing.OK
    if target is None:
        raise click.UsageError("say --to")
    now = lambda: datetime.now(UTC)  # noqa: E731
    move = Move(open_database(source, now), open_database(target, now))
    try:
        move.begin()
        _copy(move)
        compared = [move.compare(table) for table in move.tables]
        equal = all(each.equal for each in compared)
        if equal:
            move.finish()
    finally:
        move.close()
    _show(compared, as_json=as_json)
    if not equal:
        click.echo("error: the two are not equal; empty the target and move again", err=True)
    return failing.OK if equal else failing.FAULT


def _copy(move: "Move") -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<17}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for table in move.tables:
            total, done = move.count(table), 0
            if not total:
                continue
            bar = progress.add_task(table.name, total=total)
            for rows in move.copy(table):
                done += rows
                progress.advance(bar, rows)
            progress.update(bar, completed=total)
            if not console.is_terminal:
                output.note(f"{table.name}: {total} rows, {done} of them copied now")


def _show(compared: "list[Compared]", *, as_json: bool) -> None:
    if as_json:
        output.json_document(
            [
                {
                    "table": each.table,
                    "rows": each.rows,
                    "rows_there": each.rows_there,
                    "checksum": each.checksum,
                    "checksum_there": each.checksum_there,
                    "equal": each.equal,
                }
                for each in compared
            ]
        )
        return
    rows = [
        (
            each.table,
            each.rows,
            each.rows_there,
            each.checksum,
            each.checksum_there,
            "equal" if each.equal else "DIFFERS",
        )
        for each in compared
    ]
    output.table(("*table", "rows", "there", "checksum", "there", "*is"), rows, empty="no tables")
