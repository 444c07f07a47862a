"""A client outlives the server: what it was promised is kept, and what it was not is asked again."""

import signal
import threading
from pathlib import Path

from tests.served import PATIENCE_SECONDS, free_port, serving


def test_submits_outlive_a_server_that_is_killed_and_each_makes_one_task(tmp_path: Path):
    port = str(free_port())
    acknowledged: list[str] = []
    killed = threading.Event()

    with serving(tmp_path, "--no-worker", "--port", port) as first:
        client = first.client()

        def submit() -> None:
            for number in range(100):
                if number == 50:
                    killed.wait(PATIENCE_SECONDS)
                acknowledged.append(client.submit("absent", labels={"n": str(number)}).id)

        submitting = threading.Thread(target=submit)
        submitting.start()
        while len(acknowledged) < 20:
            killed.wait(0.001)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        killed.set()

        with serving(tmp_path, "--no-worker", "--port", port) as second:
            submitting.join(PATIENCE_SECONDS)
            found = [task.id for task in second.client().search(type="absent")]

    assert len(acknowledged) == 100
    assert sorted(found) == sorted(acknowledged)
