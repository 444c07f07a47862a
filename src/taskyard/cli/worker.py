"""``taskyard worker``."""

from datetime import timedelta

import click
from click.core import ParameterSource

from taskyard.cli.programs import Programs, Working
from taskyard.cli.serve import database_option, importable_here, running_options
from taskyard.cli.session import DEFAULT_URL, KEY_FILE, found_key
from taskyard.cli.values import without_password


@click.command("worker")
@click.argument("app", metavar="APP:YARD")
@database_option()
@click.option(
    "--url",
    envvar="TASKYARD_URL",
    help=f"Work for this server, over HTTP. [env: TASKYARD_URL; default: {DEFAULT_URL}]",
)
@click.option(
    "--key", envvar="TASKYARD_KEY", help=f"Your key, for --url. [env: TASKYARD_KEY; else ./{KEY_FILE}]"
)
@click.option("--name", help="How it is shown; the machine's name, where this is not said.")
@running_options
@click.pass_obj
def worker_command(
    programs: Programs,
    app: str,
    database: str | None,
    url: str | None,
    key: str | None,
    name: str | None,
    lease: timedelta | None,
    slots: int | None,
    reachable_at: str | None,
    log_level: str,
    log_json: bool,
) -> int:
    """
    Start a worker that runs the tasks of APP:YARD (module:variable), for a database or for a server.

    \b
      taskyard worker app:yard --database postgresql://localhost/taskyard
      taskyard worker app:yard --url https://tasks.example.org --key "$KEY"

    SIGTERM or ctrl-c lets it finish what it runs; a second one makes it stop at once.
    """
    if database is not None and url is not None:
        database, url = _said(database, url)
    if database is None:
        url, key = url or DEFAULT_URL, found_key(key)
    importable_here()
    working = Working(
        app=app,
        database=database,
        url=url if url is None or "//" in url else f"http://{url}",
        key=key,
        name=name,
        slots=slots,
        lease=lease,
        reachable_at=reachable_at,
        log_level=log_level,
        log_json=log_json,
    )
    return programs.work(
        working, lambda where: click.echo(f"working for {without_password(where)}", err=True)
    )


def _said(database: str, url: str) -> tuple[str | None, str | None]:
    """Return the one of the two that was typed: that goes before what the environment says."""
    source = click.get_current_context().get_parameter_source
    typed = {each for each in ("database", "url") if source(each) is ParameterSource.COMMANDLINE}
    if len(typed) != 1:
        raise click.UsageError("say --database or --url, not both")
    return (database, None) if "database" in typed else (None, url)
