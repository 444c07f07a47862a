"""The tasks of the drill. Each writes into a ledger of its own what it did, so that nobody has to believe the database."""

import asyncio
import os
import time
from pathlib import Path

from taskyard import Context, Yard

#: Where the ledgers lie: one file for each process.
FOLDER = "DRILL_LEDGERS"

yard = Yard()


@yard.task("drill")
async def drill(ctx: Context, number: int, work_ms: float) -> dict[str, int]:
    _note(ctx, "began")
    await asyncio.sleep(work_ms / 1000)
    _note(ctx, "ended")
    return {"number": number, "attempt": ctx.attempt, "pid": os.getpid()}


def _note(ctx: Context, what: str) -> None:
    """Append one line, in one write: whole or not at all, whenever the process is killed."""
    line = f"{ctx.id} {ctx.attempt} {what} {time.monotonic():.6f}\n"
    ledger = os.open(Path(os.environ[FOLDER]) / str(os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)
