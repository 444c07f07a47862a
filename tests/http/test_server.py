"""A server in a process of its own: what only shows over a real connection, and when it is told to stop."""

import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.served import PATIENCE_SECONDS, serving, start, stop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path, "--no-worker") as served:
        yield served


@pytest.fixture
def http(server):
    headers = {"Authorization": f"Bearer {server.key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=PATIENCE_SECONDS) as client:
        yield client


def messages(lines):
    """Give the events of a stream of lines: (id, kind, data)."""
    told = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            told[name] = value
        elif told:
            if "data" in told:
                yield told["id"], told["event"], json.loads(told["data"])
            told = {}


def listen(http, most, last=None):
    """Open a stream, give at most *most* events, and cut it off."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
    with http.stream("GET", "/v1/events?kind=task.submitted", headers=headers) as stream:
        heard = messages(stream.iter_lines())
        return [next(heard) for _ in range(most)]


def test_a_stream_that_is_cut_again_and_again_misses_nothing_and_repeats_nothing(http):
    many, last = 200, http.get("/v1/events").json()["next"]

    def submit():
        for number in range(many):
            http.post("/v1/tasks", json={"type": "note", "input": number}).raise_for_status()

    submitting = threading.Thread(target=submit)
    submitting.start()
    heard = []
    while len(heard) < many:
        for id, _, data in listen(http, min(7 + len(heard) % 13, many - len(heard)), last):
            last = id
            heard.append(data["subject"])
    submitting.join()

    page = http.get("/v1/events", params={"kind": "task.submitted", "page_size": 1000}).json()
    assert heard == [event["subject"] for event in page["events"]]


@pytest.mark.parametrize("size", [10, 500_000])
def test_an_answer_is_whole_before_its_line_is_closed(server, http, size):
    task = http.post("/v1/tasks", json={"type": "note", "input": "x" * size}).json()

    answer = http.get(f"/v1/tasks/{task['id']}", headers={"Connection": "close"})

    assert answer.headers["connection"] == "close"
    assert len(answer.json()["input"]) == size


def test_nobody_who_waits_holds_up_a_server_that_is_told_to_stop(server, http):
    task = http.post("/v1/tasks", json={"type": "note"}).json()
    worker = http.post(
        "/v1/leases:register", json={"name": "w", "lanes": [{"queue": "q", "type": "t"}], "lease": 3600}
    ).json()["worker"]
    asked = {"worker": worker, "lanes": [{"queue": "q", "type": "t"}], "wait": 50}
    with ThreadPoolExecutor() as pool:
        looking = pool.submit(http.get, f"/v1/tasks/{task['id']}?wait=50")
        waiting = pool.submit(http.post, "/v1/leases:acquire", json=asked)
        with http.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}) as stream:
            lines = stream.iter_lines()
            next(lines)  # it has begun
            while 'path="/events"' not in http.get("/metrics").text:
                continue
            server.process.send_signal(signal.SIGTERM)
            list(lines)  # it is ended whole, not cut off

        assert looking.result().json()["state"] == "ready"
        assert waiting.result().json() == {"tasks": []}
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_what_was_answered_before_a_stop_is_there_after_it(tmp_path):
    acknowledged = []
    with serving(tmp_path, "--no-worker") as served:
        headers = {"Authorization": f"Bearer {served.key}"}

        def submit():
            with httpx.Client(base_url=served.url, headers=headers) as client:
                while True:
                    try:
                        answer = client.post("/v1/tasks", json={"type": "note"})
                    except httpx.TransportError:
                        return
                    if answer.status_code == 201:
                        acknowledged.append(answer.json()["id"])

        submitting = [threading.Thread(target=submit) for _ in range(4)]
        for each in submitting:
            each.start()
        while len(acknowledged) < 100:
            continue
        assert stop(served.process) == 0
        for each in submitting:
            each.join()

    with serving(tmp_path, "--no-worker") as served:
        for id in acknowledged[-20:]:
            assert served.client().get(id).id == id


def test_a_body_too_large_is_refused_before_it_is_read_to_its_end(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as line:
        line.sendall(
            f"POST /v1/tasks HTTP/1.1\r\nHost: yard\r\nAuthorization: Bearer {server.key}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        answer = b""
        for _ in range(12):  # it never ends: no last chunk is sent
            try:
                line.sendall(chunk)
            except OSError:
                break
        while b"\r\n\r\n" not in answer:
            answer += line.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_head_of_a_stream_has_an_end(http):
    answer = http.head("/v1/events", headers={"Accept": "text/event-stream"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_server_tells_how_it_is_to_anybody_and_nothing_else(server):
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{server.url}/readyz").json()
    assert (ready["status"], ready["store"]) == ("ready", {"ok": True})
    assert {loop["name"] for loop in ready["loops"]} >= {"scheduler", "reaper", "janitor"}
    assert "taskyard_http_requests_total" in httpx.get(f"{server.url}/metrics").text
    assert httpx.get(f"{server.url}/openapi.json").json()["openapi"] == "3.1.0"
    assert httpx.get(f"{server.url}/v1/tasks").status_code == 401


def test_a_key_that_is_revoked_is_refused_at_once(server, http):
    made = http.post("/v1/keys", json={"name": "ci"}).json()
    theirs = {"Authorization": f"Bearer {made['secret']}"}

    assert httpx.get(f"{server.url}/v1/me", headers=theirs).status_code == 200
    assert http.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert httpx.get(f"{server.url}/v1/me", headers=theirs).status_code == 401


def test_no_secret_is_ever_logged(tmp_path):
    process = start(tmp_path, "serve", "--port", "0", "--json", "--log-level", "debug", "--no-worker")
    told = json.loads(process.stdout.readline())
    secret = (tmp_path / "taskyard.key").read_text().strip()
    headers = {"Authorization": f"Bearer {secret}"}
    for path in ("/v1/me", "/v1/nothing", "/v1/tasks?colour=red"):
        httpx.get(told["url"] + path, headers=headers)
    made = httpx.post(told["url"] + "/v1/keys", json={"name": "ci"}, headers=headers).json()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)

    assert secret not in out + err
    assert made["secret"] not in out + err


BREAKING = """
import sys
from pathlib import Path
import taskyard.app
from taskyard.__main__ import main
from taskyard.store.sqlite import SqliteDatabase
from tests.chaos.test_disk import FailingDisk

class Disk(FailingDisk):
    @property
    def fails(self):
        return Path("fail").exists()

    @fails.setter
    def fails(self, _):
        pass

disk = Disk()
taskyard.app.open_database = lambda url, now: SqliteDatabase(Path("yard.db"), now, vfs=disk.name)
sys.argv = ["taskyard", "serve", "--port", "0", "--json", "--no-worker"]
main()
"""


def test_a_disk_that_fails_stops_the_server_with_one_line(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", BREAKING],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = json.loads(process.stdout.readline())["url"]
        headers = {"Authorization": f"Bearer {(tmp_path / 'taskyard.key').read_text().strip()}"}
        assert httpx.post(f"{url}/v1/tasks", json={"type": "a"}, headers=headers).status_code == 201
        (tmp_path / "fail").touch()

        refused = httpx.post(f"{url}/v1/tasks", json={"type": "a"}, headers=headers)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        stop(process)

    assert (refused.status_code, refused.json()["code"]) == (503, "broken")
    assert refused.headers["retry-after"] == "1"
    assert process.returncode == 74
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-1:]
