"""The wire's own client, version 3.2.0, walks from a user to the files of his results; and the same walk in plain requests."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.dialects.ricloud.wire import HEADERS
from tests.receiving import receiving
from tests.served import PATIENCE_SECONDS, environment, serving, start, stop
from tests.working import until

#: Installed by ./test into an environment of its own; it is run as a program and never imported here.
CLIENT = Path(__file__).parents[3] / ".venv/ricloud/bin/ricloud"
NOBODY = "00000000-0000-4000-8000-000000000000"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

CONNECTORS = '''
"""A source type of one's own: the client's samples open accounts of this type."""

from taskyard.loops.connector import MockSource


class Account(MockSource):
    type = "icloud.account"
'''
SETTINGS = """
[sources]
connectors = ["accounts:Account"]

[hooks]
allow = ["127.0.0.0/8"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "accounts.py").write_text(CONNECTORS)
    (tmp_path / "taskyard.toml").write_text(SETTINGS)
    return tmp_path


class Client:
    """``ricloud …`` for one server."""

    def __init__(self, url, token, folder):
        self._folder = folder / "client"
        self._folder.mkdir()
        self._variables = {
            "HOME": str(self._folder),
            "RICLOUD_URL": url,
            "RICLOUD_TOKEN": token,
            "RICLOUD_MAX_RETRIES": "0",
            "RICLOUD_OUTPUT_DIRECTORY": str(self._folder / "output"),
        }

    def run(self, *args, succeeds=True):
        ended = subprocess.run(
            [str(CLIENT), *args],
            cwd=self._folder,
            env={**environment({}), **self._variables, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert (ended.returncode == 0) is succeeds, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def shown(self, *args):
        """Return what a command shows of a resource: ``Session({…})``, and what it holds."""
        said = self.run(*args)
        held = said[said.index("({") + 1 : said.rindex("})") + 1]
        return json.loads(held), said

    def downloaded(self):
        output = self._folder / "output"
        return {path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()}


@pytest.mark.skipif(
    not os.access(CLIENT, os.X_OK), reason="the ricloud client is not installed; ./test does that"
)
def test_the_client_walks_from_a_user_to_files(folder):
    with serving(folder) as served, receiving() as (receiver, posted):
        client = Client(f"{served.url}/ricloud/", served.key, folder)
        (folder / "none.json").write_text("{}")

        storage, _ = client.shown(
            "storage-config",
            "create",
            "--url",
            f"local://{folder}/results",
            "--credentials-path",
            str(folder / "none.json"),
        )
        webhook, _ = client.shown("webhook-config", "create", "--url", f"{receiver}/webhooks")
        assert (storage["type"], webhook["resource"]) == ("local", "webhook_config")
        tested = client.run("webhook-config", "test", str(webhook["id"]))
        assert '"type": "webhook_config.test"' in tested
        session, said = client.shown(
            "icloud",
            "session",
            "create",
            "john@example.com",
            "--icloud-password",
            "abcd1234",
            "--user-identifier",
            "ana",
        )
        assert f"Session created: {session['id']}" in said
        assert (session["state"], session["source"]["type"]) == ("active", "icloud.account")
        latest, _ = client.shown(
            "icloud", "session", "latest", "john@example.com", "--user-identifier", "ana"
        )
        assert latest["id"] == session["id"]

        poll, said = client.shown(
            "icloud",
            "poll",
            "create",
            session["id"],
            "--info-types",
            "*",
            "--data-types",
            "messages.sms,suspend:1",
        )
        assert f"Poll {poll['id']} completed." in said
        assert (poll["state"], len(poll["tasks_succeeded"]), poll["tasks_failed"]) == ("completed", 3, [])
        assert client.shown("icloud", "poll", "latest", session["id"])[0]["id"] == poll["id"]
        result = poll["results"]["data"][0]
        assert client.shown("icloud", "result", "retrieve", result["id"])[0] == result

        client.run("icloud", "poll", "download", poll["id"])
        found = client.downloaded()
        assert json.loads(found["messages.sms"])["data"][0]["file"]["id"] == "messages.sms-1"
        assert found["messages.sms-2"] == b"the mock file messages.sms-2\n"

        refused = client.run("icloud", "poll", "create", NOBODY, succeeds=False)
        assert "status:400, error:invalid-parameter" in refused
        wrong = Client(f"{served.url}/ricloud/", "wrong", folder / "results").run(
            "icloud", "session", "latest", "x", succeeds=False
        )
        assert "status:401, error:unauthorised" in wrong
        until(lambda: len(posted) == 2)
        assert {json.loads(body)["type"] for _, _, body in posted} == {"webhook_config"}


def test_plain_requests_walk_the_same_way(folder):
    with (
        serving(folder, "--dialect", "ricloud") as served,
        httpx.Client(
            base_url=served.url, headers={**HEADERS, "Authorization": f"Token {served.key}"}
        ) as client,
    ):  # alone, at the root of its port

        def post(path, body, **headers):
            answer = client.post(path, content=json.dumps(body), headers=headers)
            assert answer.status_code in (200, 201), answer.text
            return answer.json()

        def get(path, **params):
            answer = client.get(path, params=params)
            assert answer.status_code == 200, answer.text
            return answer.json()

        storage = post(
            "/configs/storage",
            {"url": f"local://{folder}/results", "credentials": {}},
            **{"Ricloud-Await": "10"},
        )
        assert storage["state"] == "valid"  # held until it was tested
        user = post("/users", {"identifier": "ana"})
        source = {"user": user["id"], "type": "mocks.mock", "identifier": "john"}
        assert post("/sources", source)["state"] == "unvalidated"
        session = post(
            "/sessions", {"source": source, "payload": {"password": "abcd1234"}}, **{"Ricloud-Await": "10"}
        )
        assert (session["state"], session["source"]["state"]) == ("active", "active")
        poll = post("/polls", {"session": session["id"], "payload": {"data_types": ["messages.sms"]}})
        assert poll["state"] in ("pending", "processing", "completed")
        until(lambda: get(f"/polls/{poll['id']}")["state"] == "completed")

        [task] = get("/tasks", poll=poll["id"])["data"]
        assert (task["state"], task["type"], task["target"]) == ("succeeded", "data", "messages.sms")
        assert get(f"/tasks/{task['id']}") == task
        [result] = get(task["results"]["url"])["data"]
        content = Path(result["url"].removeprefix("local://")).read_bytes()
        assert hashlib.md5(content).hexdigest() == result["checksum"]
        assert post(f"/results/{result['id']}/ack", None)["state"] == "consumed"
        assert get("/results")["total_count"] == 0
        assert [each["type"] for each in get("/tasks")["data"]] == [
            "data",
            "session.init",
            "storage_config.test",
        ]
        assert client.get("/").json()["error"] == "not-found"
        assert client.get("/nowhere").headers["content-type"] == "application/json"
        assert re.fullmatch(UUID, task["id"])


def test_a_worker_beside_the_server_fetches_too(folder):
    with serving(folder, "--no-worker") as served:
        headers = {**HEADERS, "Authorization": f"Token {served.key}"}
        with httpx.Client(base_url=f"{served.url}/ricloud", headers=headers) as client:
            client.post("/users", content='{"identifier": "ana"}')
            source = {"user": 1, "type": "icloud.account", "identifier": "john"}
            body = json.dumps({"source": source, "payload": {"password": "abcd1234"}})
            session = client.post("/sessions", content=body).json()
            assert session["state"] == "pending"

            worker = start(folder, "worker", "yard:yard", "--database", "sqlite:///taskyard.db")
            try:
                until(lambda: client.get(f"/sessions/{session['id']}").json()["state"] == "active")
            finally:
                stop(worker)
