"""``taskyard list``, ``show``, ``explain``, ``cancel``, ``retry`` and ``run-now``."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from taskyard.cli import output
from taskyard.cli.session import PAIR, SINCE, Session, over_each, remote
from taskyard.core.task import State

if TYPE_CHECKING:
    from taskyard.client import TaskView
    from taskyard.client.views import View

IDS = click.argument("ids", nargs=-1, required=True, metavar="ID…")


@click.command("list")
@click.option("-s", "--state", "states", type=click.Choice([state.value for state in State]), multiple=True)
@click.option("-t", "--type")
@click.option("-q", "--queue")
@click.option("-l", "--label", "labels", type=PAIR, multiple=True, metavar="NAME=VALUE")
@click.option("--parent", metavar="ID")
@click.option("--schedule", metavar="ID")
@click.option("--task-key", help="The key it was submitted with.")
@click.option("--since", type=SINCE, metavar="SPAN|TIME", help="Created in the last 1h, or since a time.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--ids", "only_ids", is_flag=True, help="Print ids alone, one a line.")
@remote
def list_command(
    session: Session,
    states: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    task_key: str | None,
    since: datetime | None,
    limit: int,
    only_ids: bool,
    **filters: Any,
) -> None:
    """
    List tasks, newest first.

    \b
      taskyard list --state failed --since 1h
      taskyard list --state failed --ids | xargs taskyard retry
    """
    with session.client() as client:
        found = client.search(
            state=states or None,
            labels=dict(labels),
            key=task_key,
            created_since=since,
            page_size=min(limit, 1000),
            **filters,
        )
        tasks = list(itertools.islice(found, limit))
    if session.as_json:
        output.json_document([task.raw for task in tasks])
    elif only_ids:
        for task in tasks:
            click.echo(task.id)
    else:
        print_tasks(tasks, session.now())


def print_tasks(tasks: Iterable["TaskView"], now: datetime) -> None:
    rows = [
        (
            task.id,
            task.type,
            task.queue,
            task.state,
            output.ago(task.created_at, now),
            output.length(took(task, now)),
            remark(task, now),
        )
        for task in tasks
    ]
    columns = ("*id", "*type", "queue", "*state", "*created", "*took", "remark")
    output.table(columns, rows, empty="no tasks match")


def took(task: "TaskView", now: datetime) -> timedelta | None:
    """Return how long the task has run since it first started."""
    return None if task.started_at is None else (task.finished_at or now) - task.started_at


def remark(task: "TaskView", now: datetime) -> str:
    """Return what is most worth knowing beside the state."""
    if task.cancel_requested_at is not None and task.is_open:
        return "was asked to stop"
    if task.state == State.SCHEDULED:
        return " ".join(filter(None, [task.reason, output.ago(task.run_at, now)]))
    if task.error is not None and task.state != State.SUCCEEDED:
        return f"{task.error.code}: {task.error.message}".splitlines()[0]
    share = shown_progress(task.progress)
    return " ".join(filter(None, [share, task.message or (task.reason if task.is_open else "")]))


def shown_progress(progress: Any) -> str:
    done, total = progress_of(progress)
    if done is None:
        return ""
    return f"{done:g}" if not total else f"{done:g}/{total:g}"


def progress_of(progress: Any) -> tuple[float | None, float | None]:
    """Return (done, total) of what a task says of its progress; None where it does not say."""
    if not isinstance(progress, dict):
        return (float(progress), None) if isinstance(progress, int | float) else (None, None)
    done, total = progress.get("done"), progress.get("total")
    return (
        float(done) if isinstance(done, int | float) else None,
        float(total) if isinstance(total, int | float) else None,
    )


@click.command("show")
@click.argument("id")
@click.option("--logs", is_flag=True, help="Also what each attempt printed.")
@remote
def show_command(session: Session, id: str, logs: bool) -> None:
    """Show all of a task: what it was given, where it is, what it published, what came of it."""
    with session.client() as client:
        task = client.get(id)
        results, steps = list(client.results(id)), list(client.steps(id))
        children = list(itertools.islice(client.children(id), 100))
        texts = list(client.logs(id)) if logs else []
    if session.as_json:
        parts: dict[str, Sequence[View]] = {
            "results": results,
            "steps": steps,
            "children": children,
            "logs": texts,
        }
        document = {**task.raw, **{name: [each.raw for each in part] for name, part in parts.items()}}
        output.json_document(
            document if logs else {name: document[name] for name in document if name != "logs"}
        )
        return
    output.record(task_record(task))
    _print_section(
        "results",
        ("name", "attempt", "value"),
        [(each.name, each.attempt, output.brief(each.value)) for each in results],
    )
    _print_section(
        "steps",
        ("name", "attempt", "output"),
        [(each.name, each.attempt, output.brief(each.output)) for each in steps],
    )
    _print_section(
        "children", ("*id", "type", "*state"), [(each.id, each.type, each.state) for each in children]
    )
    for text in texts:
        click.echo(f"\nlog of attempt {text.attempt}")
        click.echo(text.text.rstrip("\n"))


def task_record(task: "TaskView") -> list[tuple[str, object]]:
    error = task.error
    return [
        ("id", task.id),
        ("type", task.type),
        ("queue", task.queue),
        ("state", task.state),
        ("reason", task.reason),
        ("progress", shown_progress(task.progress)),
        ("message", task.message),
        ("target", task.target),
        ("labels", task.labels and " ".join(f"{name}={value}" for name, value in task.labels.items())),
        ("key", task.key),
        ("input", task.input),
        ("output", task.output),
        ("error", error and f"{error.code}: {error.message}"),
        ("traceback", error and error.traceback and error.traceback.rstrip()),
        ("created", task.created_at),
        ("due", task.run_at if task.state == State.SCHEDULED else None),
        ("start by", task.start_by if task.started_at is None else None),
        ("started", task.started_at),
        ("finished", task.finished_at),
        ("attempts", task.claims or None),
        ("failures", f"{task.failures} of {task.max_failures}" if task.failures else None),
        ("lost", task.losses or None),
        ("timeout", output.seconds_length(task.timeout_seconds)),
        ("priority", task.priority or None),
        (
            "concurrency",
            task.concurrency_key and f"{task.concurrency_key} (at most {task.concurrency_limit})",
        ),
        ("holder", task.holder),
        ("parent", task.parent),
        ("schedule", task.schedule),
        ("retry of", task.retry_of),
        ("submitted by", task.actor),
        ("asked to stop", task.cancel_requested_at),
    ]


def _print_section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        click.echo(f"\n{title}")
        output.table(columns, rows, empty="")


@click.command("explain")
@click.argument("id")
@remote
def explain_command(session: Session, id: str) -> None:
    """Say why a task is not running, and what clears each reason."""
    with session.client() as client:
        explained = client.explain(id)
    if session.as_json:
        output.json_document(explained)
        return
    click.echo(explained["summary"])
    for reason in explained["reasons"]:
        click.echo(f"\n• {reason['detail']}")
        if reason.get("action"):
            click.echo(f"  → {reason['action']['cli']}")


@click.command("cancel")
@IDS
@remote
def cancel_command(session: Session, ids: tuple[str, ...]) -> int:
    """Cancel tasks; those that run are asked to stop."""
    return _move_each(session, ids, "cancel")


@click.command("retry")
@IDS
@remote
def retry_command(session: Session, ids: tuple[str, ...]) -> int:
    """Submit ended tasks again; each as a new task, whose id is printed."""
    return _move_each(session, ids, "retry")


@click.command("run-now")
@IDS
@remote
def run_now_command(session: Session, ids: tuple[str, ...]) -> int:
    """Start scheduled tasks at once."""
    return _move_each(session, ids, "run_now")


def _move_each(session: Session, ids: tuple[str, ...], move: str) -> int:
    with session.client() as client:

        def act(id: str) -> None:
            task: TaskView = getattr(client, move)(id)
            if session.as_json:
                output.json_line(task.raw)
            elif task.cancel_requested_at is not None and task.is_open:
                click.echo(f"{task.id} was asked to stop")
            else:
                click.echo(f"{task.id} {output.paint(task.state)}")

        return over_each(ids, act)
