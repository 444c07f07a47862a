"""
The drill: many machines on one PostgreSQL while workers are killed and the database stops. ``python -m tests.drill --help``

Ends with 0 when every promise held, with 1 when one broke.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.drill.course import Course, Outcome, Plan
from tests.drill.machines import Database, GivenDatabase, OwnDatabase, make_folder

DEFAULT = Plan()


@click.command()
@click.option("--tasks", default=DEFAULT.tasks, show_default=True)
@click.option("--servers", default=DEFAULT.servers, show_default=True)
@click.option("--workers", default=DEFAULT.workers, show_default=True)
@click.option("--kill-every", default=DEFAULT.kill_every_s, show_default=True, metavar="SECONDS")
@click.option("--stops", default=DEFAULT.stops, show_default=True, help="How often the database is stopped.")
@click.option(
    "--down", default=DEFAULT.down_s, show_default=True, metavar="SECONDS", help="How long each time."
)
@click.option("--lease", default=DEFAULT.lease_s, show_default=True, metavar="SECONDS")
@click.option(
    "--slots", default=DEFAULT.slots, show_default=True, help="How many tasks a worker runs at once."
)
@click.option("--work-ms", default=DEFAULT.work_ms, show_default=True, help="How long one task takes.")
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Which workers are killed.")
@click.option(
    "--database",
    metavar="URL",
    help="An empty database to use; connections are cut where it cannot be stopped.",
)
@click.option("--folder", type=click.Path(path_type=Path), help="Keep logs and ledgers here.")
def main(
    tasks: int,
    servers: int,
    workers: int,
    kill_every: float,
    stops: int,
    down: float,
    lease: float,
    slots: int,
    work_ms: float,
    seed: int,
    database: str | None,
    folder: Path | None,
) -> None:
    """Run API servers and workers on one PostgreSQL, kill and stop them, and count what became of every task."""
    plan = Plan(
        tasks=tasks,
        servers=servers,
        workers=workers,
        kill_every_s=kill_every,
        stops=stops,
        down_s=down,
        lease_s=lease,
        slots=slots,
        work_ms=work_ms,
        seed=seed,
    )
    place = folder or Path(tempfile.mkdtemp(prefix="drill-"))
    make_folder(place)
    yard: Database = GivenDatabase(database) if database else OwnDatabase()
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - began:6.1f}] {text}")

    try:
        outcome = Course(plan, place, yard, say).run()
    finally:
        yard.remove()
    for line in told(outcome, plan):
        click.echo(line)
    if folder is None:
        shutil.rmtree(place)
    sys.exit(1 if any(outcome.reckoning.broken.values()) else 0)


def told(outcome: Outcome, plan: Plan) -> list[str]:
    """Return the report, line by line."""
    reckoning = outcome.reckoning
    counts = [
        ("acknowledged", reckoning.acknowledged),
        ("succeeded", reckoning.succeeded),
        ("failed: lost three workers", reckoning.poisoned),
        ("workers killed", outcome.kills),
        ("workers that ended by themselves", outcome.ended_by_themselves),
        ("attempts run again", reckoning.run_again),
        ("run in two places at once", reckoning.at_once),
        ("answers 503, asked again", outcome.refused_503),
        ("connections that broke, asked again", outcome.broken_connections),
        ("events read from the feed", reckoning.events),
        ("deadlocks", outcome.deadlocks),
    ]
    rate = reckoning.acknowledged / outcome.seconds
    lines = ["", f"{outcome.seconds:.1f} s, {rate:,.0f} tasks/s", ""]
    lines += [f"{name:<46}{count:>8,}" for name, count in counts]
    lines += ["", "promises (each must be 0)"]
    for promise, faults in reckoning.broken.items():
        lines.append(f"{promise:<46}{len(faults):>8,}")
        lines += [f"    {fault}" for fault in faults[:5]]
    lines += [
        "",
        f"{f'recovery, in seconds; the lease is {plan.lease_s:g}':<46}{'n':>5}{'p50':>8}{'p99':>8}{'max':>8}",
    ]
    stops = outcome.stops
    for name, spans in (
        ("killed → its tasks are others' to claim", reckoning.taken),
        ("killed → its tasks run elsewhere", reckoning.recoveries),
    ):
        over = [any(at < stop.started and then > stop.stopped for stop in stops) for at, then in spans]
        seconds = [(then - at, across) for (at, then), across in zip(spans, over, strict=True)]
        lines.append(_measured(name, [each for each, across in seconds if not across]))
        lines.append(
            _measured("  where the database stopped meanwhile", [each for each, across in seconds if across])
        )
    lines += [
        _measured(
            "database started → first task settled",
            [s.first_settled_s for s in stops if s.first_settled_s is not None],
        ),
        _measured(
            "database started → first task acknowledged",
            [s.first_submitted_s for s in stops if s.first_submitted_s is not None],
        ),
        _measured("database started → /readyz says 200", [each for s in stops for each in s.ready_s]),
        _measured("database stopped → /readyz says 503", [each for s in stops for each in s.unready_s]),
    ]
    return lines


def _measured(name: str, seconds: Sequence[float]) -> str:
    if not seconds:
        return f"{name:<46}{0:>5}"
    ordered = sorted(seconds)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99))
    return f"{name:<46}{len(ordered):>5}{p50:>8.2f}{p99:>8.2f}{ordered[-1]:>8.2f}"


if __name__ == "__main__":
    main()
