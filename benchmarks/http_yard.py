"""The program of a worker over HTTP: ``taskyard worker benchmarks.http_yard:yard --url …``; it tells on standard output when it is done."""

import os
from typing import Any

from benchmarks.peer import Tally
from taskyard import Yard

yard = Yard()
_tally = Tally([int(os.environ.get("BENCH_EXPECTED", "1"))], 1)


@yard.task("noop")
async def noop(_context: Any, sent: float) -> None:
    _tally(sent)
