"""A host that the network cuts off loses its leases, and nothing else: its tasks run elsewhere, once, and it comes back as another."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taskyard import Yard
from taskyard.core.times import from_micros
from tests.chaos import handlers
from tests.chaos.network import Namespace, Network, Proxy, namespaces_allowed
from tests.postgres import SETTINGS, Cluster, with_database
from tests.working import PATIENCE_S, attempts, ended, until, workers

LEASE = timedelta(seconds=3)
#: What is promised: a dead host's tasks run elsewhere so long after its lease, by the database's clock.
WITHIN = timedelta(seconds=2)


@dataclass
class Host:
    """A database here, and the way to it from a host that can be cut off."""

    network: Network
    cluster: Cluster
    url: str  # of the database, from here
    url_there: str  # and from the host

    def start(self, *command: str, **named: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen([*self.network.on_host, sys.executable, *command], **named)


def fresh(cluster: Cluster) -> str:
    name = f"yard_{os.urandom(4).hex()}"
    with psycopg.connect(cluster.url, autocommit=True) as raw:
        raw.execute(f"CREATE DATABASE {name}".encode())
    return name


@pytest.fixture(params=["namespace", "proxy"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    if request.param == "namespace":
        if not namespaces_allowed():
            pytest.skip("this machine allows no network namespaces; the proxy stands in for them")
        namespace = Namespace()
        network: Network = namespace
        cluster = Cluster({**SETTINGS, "listen_addresses": namespace.address})
        with (cluster.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {namespace.range} trust\n")
        with psycopg.connect(cluster.url, autocommit=True) as raw:
            raw.execute("SELECT pg_reload_conf()")
        place = f"{namespace.address}:5432"
    else:
        cluster = Cluster()
        proxy = Proxy(f"{cluster.folder}/.s.PGSQL.5432")
        network, place = proxy, f"127.0.0.1:{proxy.port}"
    name = fresh(cluster)
    yield Host(network, cluster, with_database(cluster.url, name), f"postgresql://postgres@{place}/{name}")
    network.remove()
    cluster.remove()


def clock(program: Yard) -> datetime:
    return program.open_parts().store.read(lambda records: records.now)


def lease_end(url: str, worker: str) -> datetime:
    with psycopg.connect(url) as raw:
        row = raw.execute("SELECT lease_until FROM taskyard.workers WHERE id = %s", [worker]).fetchone()
    assert row is not None
    return from_micros(row[0])


def test_a_host_that_is_cut_off_loses_its_tasks_to_others_and_comes_back_as_another(
    host: Host, tmp_path: Path
) -> None:
    how = {
        "url": host.url_there,
        "lease_s": LEASE.total_seconds(),
        "restart": True,
        "isolation": None,
        "slots": 4,
    }
    go_on = tmp_path / "go on"
    with Yard(host.url) as program:
        program.task("wait_for", retry_delay=0)(handlers.wait_for)
        far = host.start(str(Path(__file__).with_name("worker_process.py")), json.dumps(how))
        try:
            [before] = until(lambda: workers(program))
            task = program.submit("wait_for", {"file": str(go_on)})
            until(lambda: program.results(task.id).get("pid"))
            with program.working(lease=LEASE):
                host.network.cut()
                go_on.touch()  # its handler ends, and what it says is on its way, or nowhere
                until(lambda: program.get(task.id).losses)
                taken = program.get(task.id)
                task = ended(program, task)
                lease_until = lease_end(host.url, before.id)
                host.network.mend()
                [after] = until(
                    lambda: [
                        each for each in workers(program) if each.name == before.name and each.id != before.id
                    ]
                )
            assert taken.losses == 1
            assert (task.output, task.claims) == ("attempt 2", 2)
            assert task.attempted_at is not None
            assert timedelta(0) <= task.attempted_at - lease_until <= WITHIN
            print(f"ran elsewhere {task.attempted_at - lease_until} after the lease; back as {after.id}")

            late = ended(program, program.submit("who"))  # only the host that was cut off is left to do it
            assert late.settled_by == f"worker:{after.id}"
            assert program.get(task.id).output == "attempt 2"
            assert attempts(program, task).count("succeeded") == 1
        finally:
            far.send_signal(signal.SIGTERM)
            far.wait(PATIENCE_S)


WRITER = """
import sys
from taskyard import Yard
from taskyard.core.errors import Unavailable
from taskyard.store.postgres.patience import Patience

with Yard(sys.argv[1]) as yard:
    store = yard.open_parts().store
    store.database.patience = Patience(seconds=float(sys.argv[2]), look_every=0.1)
    yard.submit("one")
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        yard.submit("two")
    except Unavailable as error:
        print(error, flush=True)
    sys.stdin.readline()
    while True:
        try:
            print(yard.submit("three").id, flush=True)
            break
        except Unavailable:
            continue
"""


@pytest.mark.parametrize("who_notices", ["TCP", "patience"])
def test_a_writer_that_is_cut_off_is_told_so_while_the_network_is_away(host: Host, who_notices: str) -> None:
    """Through a box that acknowledges what it never delivers TCP notices nothing, and our own patience ends."""
    if who_notices == "TCP" and isinstance(host.network, Proxy):
        return
    options = "tcp_user_timeout=1500&connect_timeout=2" if who_notices == "TCP" else "tcp_user_timeout=90000"
    seconds = "60" if who_notices == "TCP" else "1.5"
    writer = host.start(
        *("-c", WRITER, f"{host.url_there}?{options}", seconds),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == "ready\n"
        host.network.cut()
        writer.stdin.write("go\n")
        writer.stdin.flush()
        assert "PostgreSQL at" in writer.stdout.readline()
        host.network.mend()
        writer.stdin.write("go\n")
        writer.stdin.flush()
        assert writer.stdout.readline().strip()
        assert writer.wait(PATIENCE_S) == 0
    finally:
        writer.kill()
        writer.wait()
