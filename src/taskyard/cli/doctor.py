"""``taskyard doctor``: looks for what is wrong and says what to do."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import click

from taskyard.cli import failing, output
from taskyard.cli.checks import Check
from taskyard.cli.serve import database_option
from taskyard.cli.session import Session, remote
from taskyard.core.errors import TaskyardError

if TYPE_CHECKING:
    from taskyard.client import Client

#: HTTP dates have whole seconds; what is more than this apart confuses people who read times, not the server.
MOST_SKEW: Final = timedelta(seconds=3)
#: How many ready tasks of a queue are looked at for types that nobody runs.
SAMPLE: Final = 100


@click.command("doctor")
@database_option()
@remote
def doctor_command(session: Session, database: str | None) -> int:
    """
    Look at the server, its workers and clock and, with --database, at the database; say what to do.

    Ends with 4 when something is wrong.
    """
    checks = list(_checks(session, database))
    if session.as_json:
        output.json_document(
            [{"name": c.name, "fine": c.fine, "detail": c.detail, "remedy": c.remedy} for c in checks]
        )
    else:
        for check in checks:
            _print(check)
    return failing.OK if all(check.fine for check in checks) else failing.UNAVAILABLE


def _print(check: Check) -> None:
    mark = click.style("ok  ", fg="green") if check.fine else click.style("BAD ", fg="red", bold=True)
    click.echo(f"{mark} {check.name:<12} {check.detail}")
    if check.remedy and not check.fine:
        click.echo(f"     {'':<12} → {check.remedy}")


def _checks(session: Session, database: str | None) -> Iterator[Check]:
    with session.client() as client:
        yield from server_checks(client, session.now)
    if database is not None:
        from taskyard.cli.database import database_checks

        yield from database_checks(database, session.now)


def server_checks(client: "Client", now: Callable[[], datetime]) -> Iterator[Check]:
    """Look at a server from outside; what depends on something that failed is not looked at."""
    try:
        alive = client.probe("/healthz")
    except TaskyardError as error:
        remedy = "start it with `taskyard serve`, or say --url"
        yield Check(name="server", fine=False, detail=str(error), remedy=remedy)
        return
    yield Check(name="server", fine=alive.status == 200, detail=f"{client.url} answers {alive.status}")
    yield _clock(alive.headers.get("date"), now())
    ready = client.probe("/readyz")
    detail = (
        "the store answers" if ready.status == 200 else " ".join(ready.body.decode(errors="replace").split())
    )
    yield Check(name="ready", fine=ready.status == 200, detail=detail, remedy="read the server's log")
    try:
        me = client.me()
    except TaskyardError as error:
        yield Check(name="key", fine=False, detail=str(error), remedy="say --key, or set TASKYARD_KEY")
        return
    yield Check(
        name="key", fine=True, detail=f"you are {me['name'] or me['identity']} of {me['organisation']}"
    )
    yield from _work(client)


def _clock(date: str | None, now: datetime) -> Check:
    if date is None:
        return Check(name="clock", fine=True, detail="the server does not tell its time")
    skew = abs(parsedate_to_datetime(date) - now)
    fine = skew <= MOST_SKEW
    detail = "agrees with this machine's" if fine else f"is {output.length(skew)} from this machine's"
    return Check(name="clock", fine=fine, detail=detail, remedy="let NTP set both clocks")


def _work(client: "Client") -> Iterator[Check]:
    """Look at what is ready and nobody will start."""
    workers = [worker for worker in client.workers() if worker.state in ("active", "draining")]
    lanes = {(lane["queue"], lane["type"]) for worker in workers for lane in worker.lanes}
    waiting = [queue for queue in client.queues() if queue.counts.get("ready", 0)]
    yield Check(
        name="workers",
        fine=bool(workers) or not any(queue.kind == "machine" for queue in waiting),
        detail=f"{len(workers)} at work" if workers else "none at work",
        remedy="start one: `taskyard worker app:yard`",
    )
    for queue in waiting:
        count = queue.counts["ready"]
        if queue.paused:
            detail = f"{count:,} tasks wait in {queue.name}, which is paused"
            yield Check(name="queue", fine=False, detail=detail, remedy=f"taskyard queue resume {queue.name}")
        elif queue.kind == "machine":
            yield from _orphans(client, queue.name, lanes)


def _orphans(client: "Client", queue: str, lanes: set[tuple[str, str]]) -> Iterator[Check]:
    types = set()
    for task, _ in zip(
        client.search(state="ready", queue=queue, page_size=SAMPLE), range(SAMPLE), strict=False
    ):
        types.add(task.type)
    for type in sorted(types):
        if (queue, type) not in lanes:
            detail = f"tasks of type {type} wait in {queue}, and no worker runs them"
            remedy = f"start a worker whose yard has a task {type!r} with queue={queue!r}"
            yield Check(name="queue", fine=False, detail=detail, remedy=remedy)
