"""``taskyard serve``, ``migrate`` and ``version``."""

import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from taskyard.cli import output
from taskyard.cli.programs import Listening, Programs, Serving
from taskyard.cli.session import KEY_FILE, SPAN
from taskyard.cli.values import without_password

DATABASE: Final = "sqlite:///taskyard.db"
LEVELS: Final = ("debug", "info", "warning", "error")


def database_option(**named: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--database",
        envvar="TASKYARD_DATABASE",
        metavar="URL",
        help="sqlite:///file.db or postgresql://… [env: TASKYARD_DATABASE]",
        **named,
    )


def running_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what everything that runs tasks is asked."""
    options = [
        click.option("--slots", type=click.IntRange(1), help="How many tasks it runs at a time."),
        click.option(
            "--lease",
            type=SPAN,
            metavar="SPAN",
            help="How long a worker may be silent before its tasks go to others.",
        ),
        click.option(
            "--reachable-at",
            metavar="ADDRESS",
            help="This machine's address for the machines of executors, such as a Dask cluster's.",
        ),
        click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True),
        click.option("--log-json", is_flag=True, help="Log lines of JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("serve")
@click.argument("app", required=False, metavar="[APP:YARD]")
@database_option(default=DATABASE, show_default=True)
@click.option(
    "--host",
    envvar="TASKYARD_HOST",
    default="127.0.0.1",
    show_default=True,
    help="0.0.0.0 to listen on every address.",
)
@click.option(
    "--port",
    envvar="TASKYARD_PORT",
    type=click.IntRange(0, 65535),
    default=8420,
    show_default=True,
    help="0 for any that is free.",
)
@click.option(
    "--dialect",
    "dialects",
    multiple=True,
    metavar="NAME[=PORT]",
    help="Speak this API too; with a PORT of its own, at its root.",
)
@click.option("--no-worker", is_flag=True, help="Run no tasks here; leave them to `taskyard worker`.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Where the first key is written; beside the database, where this is not said.",
)
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as a line of JSON.")
@running_options
@click.pass_obj
def serve_command(
    programs: Programs,
    app: str | None,
    database: str,
    host: str,
    port: int,
    dialects: tuple[str, ...],
    no_worker: bool,
    key_file: Path | None,
    as_json: bool,
    slots: int | None,
    lease: timedelta | None,
    reachable_at: str | None,
    log_level: str,
    log_json: bool,
) -> int:
    """
    Start a server, with a worker in it that runs the tasks of APP:YARD (module:variable).

    \b
      taskyard serve
      taskyard serve app:yard --database postgresql://localhost/taskyard
    """
    importable_here()
    serving = Serving(
        app=app,
        database=database,
        host=host,
        port=port,
        dialects=dialects,
        worker=not no_worker,
        slots=slots,
        lease=lease,
        reachable_at=reachable_at,
        key_file=key_file or _key_file(database),
        log_level=log_level,
        log_json=log_json,
    )
    return programs.serve(serving, _as_json if as_json else _greet)


def _key_file(database: str) -> Path:
    """Return where the first key is written: beside a database that is a file, here for any other."""
    if database.startswith(("postgresql://", "postgres://")):
        return Path(KEY_FILE)
    return Path(database.removeprefix("sqlite:///")).parent / KEY_FILE


def importable_here() -> None:
    """Let ``app:yard`` be found in the directory where the command is given, as ``python -m`` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _greet(listening: Listening) -> None:
    """Say where the server listens, where the key lies, and a first call that works as it is pasted."""
    click.echo(f"taskyard listens on {click.style(listening.url, bold=True)}")
    output.record(
        [
            ("  database", without_password(listening.database)),
            ("  key", str(_shown_key(listening) or "made by the first server of this database")),
            ("  runs", " ".join(listening.types)),
            *((f"  {name}", url) for name, url in listening.dialects),
        ]
    )
    click.echo(f"\nFirst call:\n  {first_call(listening)}\n")
    sys.stdout.flush()


def _shown_key(listening: Listening) -> Path | None:
    """Return where the key lies, from wherever a call is pasted."""
    return None if listening.key_file is None else listening.key_file.absolute()


def first_call(listening: Listening) -> str:
    type = listening.types[0] if listening.types else "hello"
    file = _shown_key(listening)
    key = f"$(cat {shlex.quote(str(file))})" if file else "$TASKYARD_KEY"
    return (
        f'curl {listening.url}/v1/tasks -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{{\"type\": \"{type}\"}}'"
    )


def _as_json(listening: Listening) -> None:
    output.json_line(
        {
            "url": listening.url,
            "database": without_password(listening.database),
            "key_file": None if listening.key_file is None else str(_shown_key(listening)),
            "types": list(listening.types),
            "dialects": dict(listening.dialects),
        }
    )


@click.command("migrate")
@database_option(default=DATABASE, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate_command(database: str, as_json: bool) -> None:
    """Bring a database up to date. (`serve` does so by itself.)"""
    from taskyard.store.opening import migrate, open_database

    opened = open_database(database, lambda: datetime.now(UTC))
    try:
        version = migrate(opened, output.note)
    finally:
        opened.close()
    if as_json:
        output.json_document({"schema_version": version})
    else:
        click.echo(f"the database is at schema version {version}")


@click.command("version")
def version_command() -> None:
    """Print the version."""
    from importlib.metadata import version

    click.echo(f"taskyard {version('taskyard')}, Python {sys.version.split()[0]}")
