"""The drill in small: ``python -m tests.drill`` runs it in full."""

from pathlib import Path

from tests.drill.course import Course, Plan
from tests.drill.machines import OwnDatabase, make_folder


def test_nothing_is_lost_or_settled_twice_while_workers_are_killed_and_the_database_stops(
    tmp_path: Path,
) -> None:
    plan = Plan(
        tasks=300,
        servers=1,
        workers=2,
        kill_every_s=1.0,
        most_kills=2,
        stops=1,
        down_s=0.5,
        lease_s=2.0,
        work_ms=30,
        submitters=2,
    )
    make_folder(tmp_path / "drill")
    said: list[str] = []
    database = OwnDatabase()
    try:
        outcome = Course(plan, tmp_path / "drill", database, said.append).run()
    finally:
        database.remove()

    assert not {promise: faults for promise, faults in outcome.reckoning.broken.items() if faults}, said
    assert outcome.reckoning.acknowledged == outcome.reckoning.succeeded == 300
    assert (outcome.kills, len(outcome.stops)) == (2, 1)
