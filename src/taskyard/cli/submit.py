"""``taskyard submit``."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from taskyard.cli import output, values
from taskyard.cli.session import INPUT, MEMBER, MOMENT, NO_INPUT, PAIR, SPAN, Session, remote
from taskyard.core.task import DEFAULT_QUEUE, Json, OnConflict


def task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what a task is; ``submit`` and ``schedule create`` share them."""
    options = [
        click.option("-i", "members", type=MEMBER, multiple=True, metavar="NAME=VALUE", help="A member of the input; a VALUE that is JSON is taken as JSON."),
        click.option("--input", "whole", type=INPUT, default=NO_INPUT, metavar="JSON|@FILE|-", help="The input, as a whole."),
        click.option("-q", "--queue", default=DEFAULT_QUEUE, show_default=True),
        click.option("--target", help="What the task is about."),
        click.option("-p", "--priority", type=int, help="The greater goes first."),
        click.option("-l", "--label", "labels", type=PAIR, multiple=True, metavar="NAME=VALUE", help="A label, by which lists are filtered."),
        click.option("--timeout", type=SPAN, metavar="SPAN", help="How long one attempt may take: 30s, 5m, 2h."),
        click.option("--max-failures", type=int, help="How often it may fail before it stays failed."),
        click.option("--concurrency-key", help="Tasks with the same one run one at a time."),
        click.option("--concurrency-limit", type=int, help="… or so many at a time."),
        click.option("--weight", type=int, help="How much of the queue's concurrency it takes."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def task_body(
    members: tuple[tuple[str, Json], ...],
    whole: tuple[bool, Json],
    labels: tuple[tuple[str, str], ...],
    **named: Any,
) -> dict[str, Any]:
    """Return what :func:`task_options` say as the members of a task."""
    try:
        given = values.task_input(members, whole[1], whole[0])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return {"input": given, "labels": dict(labels) or None, **named}


@click.command("submit")
@click.argument("type")
@task_options
@click.option("--run-at", type=MOMENT, metavar="TIME", help="Not before: in 5m, or 2026-03-01T12:00:00Z.")
@click.option("--start-by", type=MOMENT, metavar="TIME", help="Fail it when it has not started by then.")
@click.option("--task-key", help="Unique among open tasks.")
@click.option(
    "--on-conflict",
    type=click.Choice([each.value for each in OnConflict]),
    help="What to do when the task key is taken.",
)
@click.option("--parent", metavar="ID", help="The task it belongs to.")
@click.option("--after", "blocked_by", multiple=True, metavar="ID", help="Wait until this task has ended.")
@click.option("--wait", is_flag=True, help="Wait until it has ended; print its output.")
@click.option("--wait-for", type=SPAN, metavar="SPAN", help="… for so long at most.")
@click.option("--dry-run", is_flag=True, help="Check it, and submit nothing.")
@remote
def submit_command(
    session: Session,
    type: str,
    task_key: str | None,
    run_at: datetime | None,
    start_by: datetime | None,
    on_conflict: str | None,
    parent: str | None,
    blocked_by: tuple[str, ...],
    wait: bool,
    wait_for: timedelta | None,
    dry_run: bool,
    **named: Any,
) -> int:
    """
    Submit a task of TYPE and print its id.

    \b
      taskyard submit thumbnail -i path=cat.jpg -i size=256 --wait
      taskyard submit report --run-at "in 5m" --label team=data
      echo '{"path": "cat.jpg"}' | taskyard submit thumbnail --input -
    """
    body = task_body(**named)
    with session.client() as client:
        task = client.submit(
            type,
            key=task_key,
            run_at=run_at,
            start_by=start_by,
            on_conflict=on_conflict,
            parent=parent,
            blocked_by=list(blocked_by) or None,
            validate_only=dry_run,
            **body,
        )
    if dry_run:
        output.json_document(task.raw) if session.as_json else output.note("the server would accept it")
        return 0
    if wait or wait_for is not None:
        from taskyard.cli.watch import wait_for_end

        output.hint(f"submitted {task.id}")
        return wait_for_end(session, task.id, wait_for)
    if session.as_json:
        output.json_document(task.raw)
    else:
        click.echo(task.id)
        output.hint(f"follow it: taskyard watch {task.id}")
    return 0
