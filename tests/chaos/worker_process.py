"""A worker in a process of its own, for tests that kill, stop and drain it: ``python worker_process.py <what it should be>``."""

import json
import random
import sys
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from taskyard import Yard


def main(url: str, lease_s: float, restart: bool, isolation: str | None, slots: int) -> int:
    yard = Yard(url, jitter=random.random)
    spec = spec_from_file_location("chaos_handlers", Path(__file__).with_name("handlers.py"))
    handlers = sys.modules["chaos_handlers"] = module_from_spec(spec)
    spec.loader.exec_module(handlers)
    for name in ("who", "hang", "kill_the_worker", "wait_for", "steps"):
        yard.task(name, isolation=isolation, retry_delay=0)(getattr(handlers, name))
    lease = timedelta(seconds=lease_s)
    with yard:
        if restart:
            return yard.work(lease=lease, slots=slots)
        return yard.worker(lease=lease, slots=slots, restart=False).run()


if __name__ == "__main__":
    sys.exit(main(**json.loads(sys.argv[1])))
