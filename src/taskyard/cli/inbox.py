"""``taskyard inbox …``: the work of people."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from taskyard.cli import output
from taskyard.cli.session import INPUT, MEMBER, NO_INPUT, SPAN, Session, remote
from taskyard.cli.submit import task_body
from taskyard.cli.tasks import print_tasks, task_record
from taskyard.core.task import Json

if TYPE_CHECKING:
    from taskyard.client import TaskView

ID = click.argument("id")
LEASE = click.option(
    "--lease", type=SPAN, metavar="SPAN", help="How long you keep it; the queue's, where this is not said."
)
MEMBERS = click.option(
    "-i", "members", type=MEMBER, multiple=True, metavar="NAME=VALUE", help="A member of the answer."
)
WHOLE = click.option(
    "--input", "whole", type=INPUT, default=NO_INPUT, metavar="JSON|@FILE|-", help="The answer, as a whole."
)


@click.group("inbox")
def inbox_command() -> None:
    """Work the tasks of queues for people: claim, draft, complete."""


@inbox_command.command("list")
@click.argument("queue")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1))
@remote
def list_inbox(session: Session, queue: str, limit: int) -> None:
    """List the open tasks of a queue."""
    import itertools

    with session.client() as client:
        tasks = list(itertools.islice(client.search(queue=queue, state=("ready", "running")), limit))
    if session.as_json:
        output.json_document([task.raw for task in tasks])
    else:
        print_tasks(tasks, session.now())


@inbox_command.command("next")
@click.argument("queue")
@LEASE
@remote
def next_task(session: Session, queue: str, lease: timedelta | None) -> None:
    """Claim the most urgent task of a queue and show it."""
    with session.client() as client:
        task = client.claim_next(queue, lease=lease)
    if task is not None:
        _print(session, task)
    elif session.as_json:
        output.json_document(None)
    else:
        output.note(f"nothing to do in {queue}")


@inbox_command.command("claim")
@ID
@LEASE
@remote
def claim_task(session: Session, id: str, lease: timedelta | None) -> None:
    """Claim this very task and show it."""
    with session.client() as client:
        _print(session, client.claim(id, lease=lease))


@inbox_command.command("show")
@ID
@remote
def show_task(session: Session, id: str) -> None:
    """Show a task with its form."""
    with session.client() as client:
        task = client.get(id)
        queue = client.queue(task.queue)
    if session.as_json:
        output.json_document({**task.raw, "form": queue.form})
        return
    output.record([*task_record(task), ("form", queue.form)])


@inbox_command.command("draft")
@ID
@MEMBERS
@WHOLE
@remote
def draft_answer(
    session: Session, id: str, members: tuple[tuple[str, Json], ...], whole: tuple[bool, Json]
) -> None:
    """Keep an answer that is not finished."""
    with session.client() as client:
        _print(session, client.draft(id, _answer(members, whole)))


@inbox_command.command("complete")
@ID
@MEMBERS
@WHOLE
@remote
def complete_task(
    session: Session, id: str, members: tuple[tuple[str, Json], ...], whole: tuple[bool, Json]
) -> None:
    """
    Answer a task.

    \b
      taskyard inbox complete 0193… -i approved=true -i "note=looks good"
    """
    with session.client() as client:
        _print(session, client.complete(id, _answer(members, whole)))


@inbox_command.command("fail")
@ID
@click.argument("message")
@remote
def fail_task(session: Session, id: str, message: str) -> None:
    """Say why a task cannot be done."""
    with session.client() as client:
        _print(session, client.fail(id, message))


@inbox_command.command("extend")
@ID
@click.argument("lease", type=SPAN)
@remote
def extend_task(session: Session, id: str, lease: timedelta) -> None:
    """Keep a task for this long from now."""
    with session.client() as client:
        _print(session, client.extend(id, lease))


@inbox_command.command("release")
@ID
@remote
def release_task(session: Session, id: str) -> None:
    """Give a task back as it was."""
    with session.client() as client:
        _print(session, client.release(id))


def _answer(members: tuple[tuple[str, Json], ...], whole: tuple[bool, Json]) -> Json:
    return task_body(members, whole, ())["input"]


def _print(session: Session, task: "TaskView") -> None:
    if session.as_json:
        output.json_document(task.raw)
    else:
        output.record(task_record(task))
