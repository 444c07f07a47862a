"""absurd: https://earendil-works.github.io/absurd/"""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

STORE, NEEDS, SLOW = "postgresql", ("absurd_sdk", "absurdctl"), True
KEEPS = "yes"
SETTINGS = "async worker, concurrency and batch 100, polling every 10 ms (it has no notifications)"


def setup(url: str) -> None:
    program = Path(sys.executable).with_name("absurdctl")
    for command in (["init"], ["create-queue", "default"]):
        subprocess.run([program, command[0], "-d", url, *command[1:]], check=True, stdout=subprocess.DEVNULL)


class Producer:
    def __init__(self, url: str) -> None:
        from absurd_sdk import Absurd

        self._absurd = Absurd(url)

    def one(self, sent: float) -> None:
        self._absurd.spawn("noop", {"sent": sent}, queue="default")

    many = None


def work(url: str, tally: Any) -> None:
    from absurd_sdk import AsyncAbsurd

    async def go() -> None:
        absurd = AsyncAbsurd(url)

        @absurd.register_task(name="noop")
        async def noop(params: Any, _context: Any) -> None:
            tally(params["sent"])

        await absurd.start_worker(concurrency=100, batch_size=100, poll_interval=0.01)

    asyncio.run(go())
