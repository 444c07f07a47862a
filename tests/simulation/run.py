"""
Run simulated histories: ``python -m tests.simulation.run --seeds 2000 --moves 1000``.

A failure prints the one line that reproduces it. The tables say what was done how often.
"""

import argparse
import hashlib
import logging
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from tests.simulation.checks import Broken
from tests.simulation.coverage import missing, tables
from tests.simulation.disk import Disk
from tests.simulation.machine import simulated_machine
from tests.simulation.world import World

SEEDS = 2_000
MOVES = 1_000

_disk: Disk | None = None
#: What a process that runs histories keeps until its end.
_kept = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Within: what the parts would log is not even put together; a history has thousands of things to complain of."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def folder() -> str | None:
    """Return where to keep the file: in memory where the system has such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def history(world: World, moves: int, *, trace: bool = False) -> Counter[str]:
    """Run one history to its healed end; return what was done how often. Raises Broken."""
    try:
        for number in range(moves):
            at = world.clock
            what = world.step()
            world.counts[f"move: {what.split(' (')[0]}"] += 1
            if trace:
                print(f"{number:5} {at:9.3f} {what}")
        world.heal()
    finally:
        world.close()
    world.counts.update(world.checker.counts)
    return world.counts


def _begin(place: str) -> None:
    global _disk
    _disk = Disk(Path(place) / f"{os.getpid()}.db")
    _kept.enter_context(quiet())
    _kept.enter_context(simulated_machine())


def _one(job: tuple[int, int]) -> tuple[int, Counter[str], str | None]:
    seed, moves = job
    assert _disk is not None
    try:
        return seed, history(World(seed, _disk), moves), None
    except (Broken, Exception) as error:
        return seed, Counter(), f"{type(error).__name__}: {error}"


def simulate(first: int, seeds: int, moves: int, jobs: int) -> tuple[Counter[str], dict[int, str]]:
    """Run *seeds* histories in *jobs* processes; return what was done in all, and what broke by seed."""
    total: Counter[str] = Counter()
    broken: dict[int, str] = {}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        context = multiprocessing.get_context("spawn")
        with context.Pool(jobs, _begin, (place,)) as pool:
            work = ((seed, moves) for seed in range(first, first + seeds))
            for done, (seed, counts, failure) in enumerate(
                pool.imap_unordered(_one, work, chunksize=4), start=1
            ):
                total.update(counts)
                if failure is not None:
                    broken[seed] = failure
                if sys.stderr.isatty() or done % 1000 == 0:
                    pace = done / (time.monotonic() - begun)
                    end = "\r" if sys.stderr.isatty() else "\n"
                    said = f"{done:,} of {seeds:,} histories, {len(broken)} broken, {pace:.1f}/s"
                    print(said, end=end, file=sys.stderr, flush=True)
    return total, broken


def digest(seed: int, moves: int) -> str:
    """Return what tells one history from another: all that its feed and its tables of counts say."""
    with tempfile.TemporaryDirectory(dir=folder()) as place, quiet(), simulated_machine():
        disk = Disk(Path(place) / "one.db")
        counts = history(World(seed, disk), moves)
        events = disk.raw.execute("SELECT seq, at, kind, subject, data FROM events ORDER BY seq").fetchall()
    return hashlib.sha256(repr((sorted(counts.items()), events)).encode()).hexdigest()


def reproduce(seed: int, moves: int) -> str:
    return f"python -m tests.simulation.run --seed {seed} --moves {moves}"


def _trace(seed: int, moves: int) -> int:
    with tempfile.TemporaryDirectory(dir=folder()) as place, quiet(), simulated_machine():
        try:
            history(World(seed, Disk(Path(place) / "one.db")), moves, trace=True)
        except BaseException:
            traceback.print_exc()
            return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one, and print every move")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--moves", type=int, default=MOVES)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _trace(chosen.seed, chosen.moves)
    begun = time.monotonic()
    total, broken = simulate(chosen.first, chosen.seeds, chosen.moves, chosen.jobs)
    seconds = time.monotonic() - begun
    print(tables(total))
    print(
        f"{chosen.seeds:,} histories of {chosen.moves:,} moves: {total['tasks']:,} tasks, {total['commits']:,} commits, "
        f"{total['simulated seconds'] / 3_600:,.0f} simulated hours; {seconds:.0f} s on {chosen.jobs} processes "
        f"({platform.machine()}, Python {platform.python_version()}); {len(broken)} broken"
    )
    for seed, failure in sorted(broken.items())[:20]:
        print(f"  {failure[:300]}\n    {reproduce(seed, chosen.moves)}")
    never = missing(total)
    if never:
        print(f"never happened: {', '.join(never)}")
    return 1 if broken or never else 0


if __name__ == "__main__":
    sys.exit(main())
