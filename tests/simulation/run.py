"""
Run simulated histories: ``python -m tests.simulation.run --seeds 2000 --moves 1000``.

A failure prints the one line that reproduces it.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.simulation.world import Disk, World

_disk: Disk | None = None


def _begin(folder: str) -> None:
    global _disk
    _disk = Disk(Path(folder) / f"{os.getpid()}.db")


def history(seed: int, moves: int, *, trace: bool = False) -> Counter[str]:
    """Run one history to its healed end; return what was done how often. Raises what broke."""
    assert _disk is not None
    world = World(seed, _disk)
    done: Counter[str] = Counter()
    for number in range(moves):
        what = world.step()
        done[what] += 1
        if trace:
            print(number, world.now.time(), what)
    world.heal()
    done["commits"] = world.checker.commits
    done["tasks"] = len(world.checker.acknowledged)
    return done


def _one(job: tuple[int, int]) -> tuple[int, Counter[str], str | None]:
    seed, moves = job
    try:
        return seed, history(seed, moves), None
    except Exception as error:
        return seed, Counter(), f"{type(error).__name__}: {error}"


def simulate(first: int, seeds: int, moves: int, jobs: int) -> tuple[Counter[str], dict[int, str]]:
    """Run *seeds* histories in *jobs* processes; return what was done in all, and what broke by seed."""
    total: Counter[str] = Counter()
    broken: dict[int, str] = {}
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as folder:
        context = multiprocessing.get_context("spawn")
        with context.Pool(jobs, _begin, (folder,)) as pool:
            work = ((seed, moves) for seed in range(first, first + seeds))
            for done, (seed, counts, failure) in enumerate(
                pool.imap_unordered(_one, work, chunksize=4), start=1
            ):
                total += counts
                if failure is not None:
                    broken[seed] = failure
                if sys.stderr.isatty():
                    print(f"\r{done} of {seeds} histories, {len(broken)} broken", end="", file=sys.stderr)
    return total, broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one, and print every move")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--moves", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    if chosen.seed is not None:
        with tempfile.TemporaryDirectory() as folder:
            _begin(folder)
            try:
                history(chosen.seed, chosen.moves, trace=True)
            except Exception:
                traceback.print_exc()
                return 1
        return 0
    begun = time.monotonic()
    total, broken = simulate(chosen.first, chosen.seeds, chosen.moves, chosen.jobs)
    seconds = time.monotonic() - begun
    print(
        f"{chosen.seeds} histories of {chosen.moves} moves: {total['tasks']:,} tasks, {total['commits']:,} commits, ",
        end="",
    )
    print(
        f"{sum(n for what, n in total.items() if 'crashed' in what):,} crashes, {seconds:.0f} s, {len(broken)} broken"
    )
    for seed, failure in sorted(broken.items())[:20]:
        print(f"  {failure[:300]}\n    python -m tests.simulation.run --seed {seed} --moves {chosen.moves}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
