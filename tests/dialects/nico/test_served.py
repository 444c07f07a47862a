"""A real server with racks, asked over its port; and killed while it switches one."""

import signal
import time
from pathlib import Path

import httpx
import jwt

from tests.served import Served, free_port, serving

SECRET = "a secret that is at least 32 bytes long"
SITE = "5bd2a7f0-7a3f-4f1e-9a52-4f3e1d2c0b11"
SETTINGS = f"""
[server]
organisation = "acme-inc"
inventory = "inventory.toml"

[nico]
shared_secret = "{SECRET}"
"""
INVENTORY = f"""
[[site]]
id = "{SITE}"
name = "dc-1"
organisation = "acme-inc"

[[site.rack]]
name = "Rack-01"

[[site.rack.tray]]
kind = "PowerShelf"
name = "shelf-1"

[[site.rack.tray]]
kind = "Compute"
name = "compute-1"
"""


def furnished(folder: Path) -> Path:
    (folder / "taskyard.toml").write_text(SETTINGS)
    (folder / "inventory.toml").write_text(INVENTORY)
    return folder


def nico(served: Served) -> httpx.Client:
    claims = {
        "sub": "8f1e",
        "exp": int(time.time()) + 600,
        "realm_access": {"roles": ["acme-inc:PROVIDER_ADMIN"]},
    }
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return httpx.Client(
        base_url=f"{served.url}/v2/org/acme-inc/nico",
        headers={"Authorization": f"Bearer {token}"},
        params={"siteId": SITE},
    )


def test_an_operation_is_carried_on_after_the_server_was_killed_in_the_midst_of_it(tmp_path: Path):
    port = str(free_port())
    with serving(furnished(tmp_path), "--dialect", "nico", "--port", port, "--lease", "2") as first:
        with nico(first) as client:
            [rack] = client.get("/rack").json()
            body = {"siteId": SITE, "state": "cycle"}
            [id] = client.patch(f"/rack/{rack['id']}/power", json=body).json()["taskIds"]
            assert client.patch(f"/rack/{rack['id']}/power", json=body).status_code == 409
        for task in first.client().watch(id, timeout=60):
            if task.state == "running":
                break
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()

    with serving(tmp_path, "--dialect", "nico", "--port", port, "--lease", "2") as second:
        assert second.client().wait(id, timeout=60).state == "succeeded"
        with nico(second) as client:
            task = client.get(f"/task/{id}").json()
            assert client.get(f"/rack/task/{id}").json() == task
            assert (
                client.get(f"/rack/{rack['id']}/task", params={"siteId": SITE, "activeOnly": "true"}).json()
                == []
            )
    assert (task["id"], task["status"]) == (id, "Succeeded")
    stages = task["report"]["stages"]
    assert [stage["number"] for stage in stages] == [1, 2, 3, 4, 5, 6]
    assert {stage["status"] for stage in stages} == {"completed"}
