"""
Puts a report of what fills a folder on a schedule, and triggers it once now.

    python examples/nightly/run.py [FOLDER]            # shows it, and ends
    python examples/nightly/run.py [FOLDER] --stay     # leaves the server on, with a run every minute; ctrl-c ends it
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskyard import Client

HERE = Path(__file__).parent
#: Every night at three, by the clocks of Zurich, summer and winter.
NIGHTLY = ("0 3 * * *", "Europe/Zurich")
EVERY_MINUTE = ("* * * * *", "UTC")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    asked.add_argument("folder", nargs="?", default=".", type=Path)
    asked.add_argument("--stay", action="store_true", help="run it every minute until ctrl-c")
    args = asked.parse_args()
    if not args.folder.is_dir():
        print(f"error: {args.folder} is no folder", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="taskyard-") as place,
        server(Path(place)) as (url, key),
        Client(url, key) as client,
    ):
        report(client, args.folder.resolve(), *NIGHTLY)
        if args.stay:
            stay(client, args.folder.resolve())
    return 0


def report(client: Client, folder: Path, cron: str, timezone: str) -> None:
    task = {"type": "disk-report", "queue": "reports", "input": {"folder": str(folder)}}
    schedule = client.create_schedule(
        "nightly-report", "cron", cron, task, timezone=timezone, overlap="skip", catch_up="one"
    )
    print(f"{schedule.name}: {cron} in {timezone}, next at {schedule.next_at}")
    print("Triggered now, beside its times:")
    show(client, client.trigger_schedule(schedule.id).id)


def show(client: Client, task_id: str) -> None:
    output = client.result(task_id, timeout=600)
    print(
        f"  {output['folder']}: {output['bytes'] / 1e6:,.1f} MB, {output['disk_free_bytes'] / 1e9:,.1f} GB free on its disk"
    )
    for name, size in output["largest"].items():
        print(f"  {size / 1e6:12,.1f} MB  {name}")


def stay(client: Client, folder: Path) -> None:
    cron, timezone = EVERY_MINUTE
    client.change_schedule("nightly-report", spec=cron, timezone=timezone)
    print("Every minute from now on; ctrl-c ends it.")
    try:
        for event in client.events(kind="task.succeeded", queue="reports"):
            print(event.at.astimezone().isoformat(timespec="seconds"))
            show(client, event.subject)
    except KeyboardInterrupt:
        print()


@contextmanager
def server(place: Path) -> Iterator[tuple[str, str]]:
    """Within: a server with a worker in it; its URL and its key."""
    command = ["serve", "yard:yard", "--port", "0", "--json", "--database", f"sqlite:///{place}/taskyard.db"]
    with (place / "server.log").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "taskyard", *command],
            cwd=HERE,
            env=os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start:\n{(place / 'server.log').read_text()}")
        told = json.loads(line)
        yield told["url"], Path(told["key_file"]).read_text().strip()
    finally:
        started.terminate()
        started.wait()


if __name__ == "__main__":
    sys.exit(main())
