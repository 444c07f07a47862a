"""A real server, asked over its port as the era's clients do; and killed."""

import signal
from pathlib import Path

import httpx
import pytest

from tests.served import Served, free_port, serving

PASSWORD = "correct horse battery"


def pulp(served: Served) -> httpx.Client:
    return httpx.Client(base_url=f"{served.url}/pulp/api", auth=("admin", PASSWORD))


@pytest.fixture
def port() -> str:
    return str(free_port())


def with_admin(served: Served) -> Served:
    made = served.run("user", "create", "admin", "--role", "admin", "--password", PASSWORD)
    assert made.code == 0, made.err
    return served


def reached(served: Served, id: str, state: str, claims: int = 0) -> None:
    """Wait until the task is in *state*, at its attempt *claims* or a later one."""
    for task in served.client().watch(id, timeout=60):
        if task.state == state and task.claims >= claims:
            return
    raise AssertionError(f"{id} was never {state}")


def test_running_tasks_come_back_under_their_ids_after_the_server_was_killed(tmp_path: Path, port: str):
    with serving(tmp_path, "yard:yard", "--port", port, "--lease", "2") as first:
        with_admin(first)
        id = first.client().submit("spin").id
        reached(first, id, "running")
        with pulp(first) as client:
            recurring = {task["id"]: task for task in client.get("/tasks/?state=waiting").json()}
            [snapshot] = client.get("/tasks/snapshots/").json()
        assert snapshot["id"] == id
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()

    with (
        serving(tmp_path, "yard:yard", "--port", port, "--lease", "2") as second,
        pulp(second) as client,
    ):
        reached(second, id, "running", claims=2)
        shown = client.get(f"/tasks/{id}/").json()
        assert (shown["id"], shown["state"], shown["method_name"]) == (id, "running", "spin")
        assert {task["id"]: task for task in client.get("/tasks/?state=waiting").json()} == recurring

        assert client.post(f"/tasks/{id}/cancel/").status_code == 202
        reached(second, id, "canceled")
        assert client.get(f"/tasks/{id}/").json()["state"] == "canceled"


def test_who_comes_first_finds_the_two_culling_tasks(tmp_path: Path):
    with serving(tmp_path, "--dialect", "pulp") as served, pulp(with_admin(served)) as client:
        tasks = client.get("/tasks/").json()

        assert [task["method_name"] for task in tasks] == ["cull_audited_events", "cull_history"]
        for task in tasks:
            hour = {"cull_audited_events": ("01:00:00Z", "13:00:00Z"), "cull_history": ("01:00:00Z",)}
            assert task["scheduled_time"].endswith(hour[task["method_name"]])
            del task["id"], task["scheduled_time"], task["method_name"]
            assert task == {
                "exception": None, "args": [], "job_id": None, "class_name": None, "start_time": None, "traceback": None,
                "finish_time": None, "state": "waiting", "result": None, "scheduler": "interval", "snapshot_id": None,
                "progress": None,
            }  # fmt: skip
