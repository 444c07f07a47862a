"""A worker in a process of its own, for tests that kill, stop and drain it: ``python worker_process.py <what it should be>``."""

import json
import random
import resource
import sys
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from taskyard import Yard

#: Loaded code and a stack for each thread take this much of a process's address space, however little of it is used.
SPACE_BYTES = 2 * 1024**3
MEMORY_BYTES = 64 * 1024**2


def main(
    url: str, lease_s: float, restart: bool, isolation: str | None, slots: int, bounded: bool = False
) -> int:
    """``bounded``: the memory of a child, or of the whole worker where there is none, has an end."""
    if bounded and not isolation:
        resource.setrlimit(resource.RLIMIT_AS, (SPACE_BYTES, SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = MEMORY_BYTES if bounded and isolation else None
    yard = Yard(url, jitter=random.random)
    spec = spec_from_file_location("chaos_handlers", Path(__file__).with_name("handlers.py"))
    handlers = sys.modules["chaos_handlers"] = module_from_spec(spec)
    spec.loader.exec_module(handlers)
    for name in ("who", "hang", "kill_the_worker", "wait_for", "steps", "nap", "crash", "segfault", "eat"):
        yard.task(name, isolation=isolation, retry_delay=0, memory_limit_bytes=memory)(
            getattr(handlers, name)
        )
    lease = timedelta(seconds=lease_s)
    with yard:
        if restart:
            return yard.work(lease=lease, slots=slots)
        return yard.worker(lease=lease, slots=slots, restart=False).run()


if __name__ == "__main__":
    sys.exit(main(**json.loads(sys.argv[1])))
