"""``taskyard schedule …``."""

import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from taskyard.cli import output
from taskyard.cli.session import MOMENT, Session, confirmed, remote
from taskyard.cli.submit import task_body, task_options
from taskyard.core.schedule import CatchUp, Overlap, Timing

if TYPE_CHECKING:
    from taskyard.client import ScheduleView

NAME = click.argument("name", metavar="NAME|ID")


@click.group("schedule")
def schedule_command() -> None:
    """Submit tasks at given times."""


@schedule_command.command("list")
@remote
def list_schedules(session: Session) -> None:
    """List schedules with the next time of each."""
    with session.client() as client:
        schedules = list(client.schedules())
    if session.as_json:
        output.json_document([schedule.raw for schedule in schedules])
        return
    now = session.now()
    rows = [
        (
            each.name,
            each.task.get("type"),
            f"{each.timing} {each.spec}",
            each.timezone,
            "paused" if each.paused else "open",
            output.ago(each.next_at, now),
            output.ago(each.last_at, now),
        )
        for each in schedules
    ]
    output.table(
        ("*schedule", "type", "*when", "zone", "is", "*next", "last"), rows, empty="no schedules yet"
    )


@schedule_command.command("create")
@click.argument("name")
@click.argument("type")
@click.option("--cron", metavar="'M H D M W'", help="Five fields: '0 3 * * *' is every night at three.")
@click.option("--every", metavar="INTERVAL", help="ISO 8601: PT15M, or R5/2026-03-01T12:00:00Z/P1D.")
@click.option("--at", type=MOMENT, metavar="TIME", help="Once: in 5m, or 2026-03-01T12:00:00Z.")
@click.option("--timezone", help="An IANA name, for --cron: Europe/Zurich.")
@click.option(
    "--catch-up",
    type=click.Choice([each.value for each in CatchUp]),
    help="What to do about times that were missed.",
)
@click.option(
    "--overlap",
    type=click.Choice([each.value for each in Overlap]),
    help="What to do when the last run has not ended.",
)
@click.option("--paused", is_flag=True, help="Create it paused.")
@click.option("--starts-at", type=MOMENT, metavar="TIME")
@click.option("--ends-at", type=MOMENT, metavar="TIME")
@click.option("--runs", type=int, help="Fire so often at most.")
@click.option("--failure-threshold", type=int, help="Pause it after so many failures in a row.")
@task_options
@remote
def create_schedule(
    session: Session,
    name: str,
    type: str,
    cron: str | None,
    every: str | None,
    at: datetime | None,
    timezone: str | None,
    catch_up: str | None,
    overlap: str | None,
    paused: bool,
    starts_at: datetime | None,
    ends_at: datetime | None,
    runs: int | None,
    failure_threshold: int | None,
    **task: Any,
) -> None:
    """
    Submit a task of TYPE at given times.

    \b
      taskyard schedule create nightly report --cron '0 3 * * *' --timezone Europe/Zurich
      taskyard schedule create pulse ping --every PT30S
    """
    timing, spec = _timing(cron, every, at)
    with session.client() as client:
        schedule = client.create_schedule(
            name,
            timing,
            spec,
            {"type": type, **task_body(**task)},
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            paused=paused or None,
            starts_at=starts_at,
            ends_at=ends_at,
            runs=runs,
            failure_threshold=failure_threshold,
        )
    print_schedule(session, schedule)


def _timing(cron: str | None, every: str | None, at: datetime | None) -> tuple[Timing, str]:
    said = [
        (timing, spec)
        for timing, spec in (
            (Timing.CRON, cron),
            (Timing.INTERVAL, every),
            (Timing.AT, at and at.isoformat()),
        )
        if spec
    ]
    if len(said) != 1:
        raise click.UsageError("say one of --cron, --every and --at")
    return said[0]


@schedule_command.command("show")
@NAME
@remote
def show_schedule(session: Session, name: str) -> None:
    """Show a schedule and its latest times."""
    with session.client() as client:
        schedule = client.schedule(name)
        firings = list(itertools.islice(client.firings(name), 10))
    if session.as_json:
        output.json_document({**schedule.raw, "firings": [each.raw for each in firings]})
        return
    print_schedule(session, schedule)
    if firings:
        click.echo("\nlatest")
        rows = [(each.fire_at, each.outcome, each.task) for each in firings]
        output.table(("*at", "outcome", "*task"), rows, empty="")


@schedule_command.command("pause")
@NAME
@remote
def pause_schedule(session: Session, name: str) -> None:
    """Submit nothing until it is resumed."""
    with session.client() as client:
        print_schedule(session, client.pause_schedule(name))


@schedule_command.command("resume")
@NAME
@remote
def resume_schedule(session: Session, name: str) -> None:
    """Go on with the next time."""
    with session.client() as client:
        print_schedule(session, client.resume_schedule(name))


@schedule_command.command("trigger")
@NAME
@remote
def trigger_schedule(session: Session, name: str) -> None:
    """Submit its task now, beside its times; print the id."""
    with session.client() as client:
        task = client.trigger_schedule(name)
    if session.as_json:
        output.json_document(task.raw)
    else:
        click.echo(task.id)


@schedule_command.command("delete")
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@remote
def delete_schedule(session: Session, name: str, yes: bool) -> None:
    """Submit nothing more; what was submitted stays."""
    confirmed(f"Delete the schedule {name}?", yes=yes)
    with session.client() as client:
        client.delete_schedule(name)


def print_schedule(session: Session, schedule: "ScheduleView") -> None:
    if session.as_json:
        output.json_document(schedule.raw)
        return
    task = dict(schedule.task)
    output.record(
        [
            ("schedule", schedule.name),
            ("id", schedule.id),
            ("when", f"{schedule.timing} {schedule.spec}"),
            ("timezone", schedule.timezone if schedule.timing == Timing.CRON else None),
            ("is", "paused" if schedule.paused else "open"),
            ("next", schedule.next_at),
            ("last", schedule.last_at),
            ("task", task.pop("type", None)),
            ("with", {name: value for name, value in task.items() if value not in (None, {}, [])}),
            ("catch up", schedule.catch_up),
            ("overlap", schedule.overlap),
            ("starts", schedule.starts_at),
            ("ends", schedule.ends_at),
            ("runs left", schedule.runs_left),
            (
                "pauses after",
                schedule.failure_threshold and f"{schedule.failure_threshold} failures in a row",
            ),
        ]
    )
