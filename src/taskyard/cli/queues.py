"""``taskyard queue …``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskyard.cli import output
from taskyard.cli.inbox import next_task
from taskyard.cli.session import INPUT, NO_INPUT, RATE, SPAN, Session, confirmed, remote
from taskyard.core.queue import Kind

if TYPE_CHECKING:
    from taskyard.client import QueueView

NAME = click.argument("name")


@click.group("queue")
def queue_command() -> None:
    """List, set, pause and resume queues."""


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--title"),
        click.option("--kind", type=click.Choice([kind.value for kind in Kind])),
        click.option("--concurrency", type=int, help="At most so many run at a time."),
        click.option("--rate", type=RATE, metavar="N/SPAN", help="At most N start in any SPAN: 10/1m."),
        click.option("--lease", type=SPAN, metavar="SPAN", help="How long a person keeps a task."),
        click.option("--max-failures", type=int, help="How often a task may fail, where it does not say."),
        click.option("--retention", type=SPAN, metavar="SPAN", help="How long ended tasks are kept."),
        click.option(
            "--form", type=INPUT, default=NO_INPUT, metavar="JSON|@FILE|-", help="What people are asked."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _given(form: tuple[bool, Any], settings: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in settings.items() if value is not None}
    if "rate" in said:
        said["rate"] = {**said["rate"], "period": said["rate"]["period"].total_seconds()}
    return {**said, "form": form[1]} if form[0] else said


@queue_command.command("list")
@remote
def list_queues(session: Session) -> None:
    """List queues with what is in them."""
    with session.client() as client:
        queues = list(client.queues())
    if session.as_json:
        output.json_document([queue.raw for queue in queues])
        return
    states = ("scheduled", "ready", "suspended", "running")
    rows = [
        (
            queue.name,
            queue.kind,
            "paused" if queue.paused else "open",
            queue.concurrency,
            shown_rate(queue),
            *(queue.counts.get(state, 0) for state in states),
        )
        for queue in queues
    ]
    output.table(("*queue", "kind", "is", "concurrency", "rate", *states), rows, empty="no queues yet")


@queue_command.command("show")
@NAME
@remote
def show_queue(session: Session, name: str) -> None:
    """Show a queue's settings and what is in it."""
    with session.client() as client:
        print_queue(session, client.queue(name))


@queue_command.command("create")
@NAME
@_settings
@remote
def create_queue(session: Session, name: str, form: tuple[bool, Any], **settings: Any) -> None:
    """Create a queue. (A queue that is submitted to is made by that.)"""
    with session.client() as client:
        print_queue(session, client.create_queue(name, **_given(form, settings)))


@queue_command.command("set")
@NAME
@_settings
@click.option("--no-limits", is_flag=True, help="Lift the limits of concurrency and rate.")
@remote
def set_queue(session: Session, name: str, no_limits: bool, form: tuple[bool, Any], **settings: Any) -> None:
    """Set what is given, and leave the rest."""
    changes = _given(form, settings)
    if no_limits:
        changes = {"concurrency": None, "rate": None, **changes}
    if not changes:
        raise click.UsageError("nothing to set was given")
    with session.client() as client:
        print_queue(session, client.change_queue(name, **changes))


@queue_command.command("pause")
@NAME
@remote
def pause_queue(session: Session, name: str) -> None:
    """Start nothing of this queue any more; what runs goes on."""
    with session.client() as client:
        print_queue(session, client.pause_queue(name))


@queue_command.command("resume")
@NAME
@remote
def resume_queue(session: Session, name: str) -> None:
    """Start its tasks again."""
    with session.client() as client:
        print_queue(session, client.resume_queue(name))


@queue_command.command("import")
@NAME
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@remote
def import_table(session: Session, name: str, file: Path) -> None:
    """
    Submit a task for each row of a CSV file whose first row has the ids of the queue's blocks.

    A row that does not fit is told before anything is submitted.
    """
    from taskyard.service.questionnaires import questions_of

    try:
        table = file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not text in UTF-8") from None
    with session.client() as client:
        form = client.queue(name).form
        if not isinstance(form, list):
            raise click.UsageError(f"the form of the queue {name} is not a list of blocks")
        answers = client.submit_many(questions_of(name, form, table, file.name))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    if session.as_json:
        output.json_document([answer.raw for answer in answers if not isinstance(answer, Exception)])
    else:
        output.note(f"{len(answers)} tasks submitted to {name}")


@queue_command.command("delete")
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@remote
def delete_queue(session: Session, name: str, yes: bool) -> None:
    """Delete a queue that holds no open task."""
    confirmed(f"Delete the queue {name}?", yes=yes)
    with session.client() as client:
        client.delete_queue(name)


queue_command.add_command(next_task)


def print_queue(session: Session, queue: "QueueView") -> None:
    if session.as_json:
        output.json_document(queue.raw)
        return
    output.record(
        [
            ("queue", queue.name),
            ("title", queue.title),
            ("kind", queue.kind),
            ("is", "paused" if queue.paused else "open"),
            ("concurrency", queue.concurrency),
            ("rate", shown_rate(queue)),
            ("lease", output.seconds_length(queue.lease_seconds) if queue.kind == Kind.HUMAN else None),
            ("max failures", queue.max_failures),
            ("retention", output.seconds_length(queue.retention_seconds)),
            ("form", queue.form),
            *((state, count) for state, count in queue.counts.items() if count),
        ]
    )


def shown_rate(queue: "QueueView") -> str:
    rate = queue.rate
    return "" if rate is None else f"{rate.count}/{output.seconds_length(rate.period_seconds)}"
