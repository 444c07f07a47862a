"""Serving, as an operator sees it."""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from taskyard.cli import failing
from taskyard.cli.programs import Listening
from taskyard.cli.serve import first_call
from tests.served import PATIENCE_SECONDS, run, serving, start, stop


def test_the_first_call_works_as_it_is_pasted_from_anywhere(tmp_path: Path):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    with serving(tmp_path, "yard:yard") as server:
        told = Listening(url=server.url, key_file=tmp_path / "taskyard.key", database="", types=["greet"])
        pasted = subprocess.run(
            ["bash", "-c", first_call(told)], cwd="/", capture_output=True, text=True, check=True
        )

        assert json.loads(pasted.stdout)["type"] == "greet"


def test_people_are_told_where_it_listens_where_the_key_lies_and_what_to_call_first(tmp_path: Path):
    server = start(tmp_path, "serve", "--port", "0")
    assert server.stdout is not None
    told = []
    for line in server.stdout:
        told.append(line)
        if line.startswith("  curl"):
            break
    stop(server)

    text = "".join(told)
    assert "taskyard listens on http://127.0.0.1:" in text
    assert re.search(rf"^  key +{tmp_path}/taskyard.key$", text, re.MULTILINE)
    assert (tmp_path / "taskyard.key").stat().st_mode & 0o777 == 0o600


def test_the_key_lies_beside_the_database(tmp_path: Path):
    (tmp_path / "data").mkdir()
    server = start(tmp_path, "serve", "--port", "0", "--json", "--database", "sqlite:///data/yard.db")
    assert server.stdout is not None
    told = json.loads(server.stdout.readline())
    stop(server)

    assert told["key_file"] == str(tmp_path / "data" / "taskyard.key")


def test_it_ends_well_when_it_is_told_to_stop(tmp_path: Path):
    with serving(tmp_path, "yard:yard") as server:
        server.client().submit("greet")
        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["serve", "nowhere:yard", "--port", "0"], "there is no module 'nowhere' here"),
        (["serve", "yard:nothing", "--port", "0"], "is no Yard"),
        (["serve", "yard", "--port", "0"], "names no yard"),
        (["serve", "--port", "0", "--database", "mysql://x"], "is not a database"),
        (["serve", "--port", "0", "--database", "sqlite:////no/such/folder/x.db"], "cannot be opened"),
        (["serve", "--port", "0", "--dialect", "klingon"], "there is no dialect 'klingon'"),
        (["worker", "nowhere:yard", "--url", "http://127.0.0.1:9"], "there is no module 'nowhere' here"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(tmp_path: Path, args: list[str], said: str):
    (tmp_path / "yard.py").write_text("from taskyard import Yard\nyard = Yard()\n")

    ran = run(tmp_path, *args)

    assert ran.code in (failing.REFUSED, failing.UNAVAILABLE, failing.USAGE)
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path):
    (tmp_path / "first").mkdir()
    with serving(tmp_path / "first") as server:
        port = server.url.rpartition(":")[2]
        ran = run(tmp_path, "serve", "--port", port)

    assert ran.code == failing.REFUSED
    assert (
        ran.err
        == f"error: nothing can listen on 127.0.0.1:{port}: Address already in use; name another with --port\n"
    )
