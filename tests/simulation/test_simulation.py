"""Two thousand simulated histories of a thousand moves, each reproduced by its number."""

import os
import subprocess
import sys

from tests.simulation.coverage import missing, tables
from tests.simulation.run import MOVES, SEEDS, reproduce, simulate

#: Other sizes and beginnings than those every change is tested with, such as ``TASKYARD_SIMULATION=200000:100000``: so many from there.
ASKED = os.environ.get("TASKYARD_SIMULATION", f"{SEEDS}:0")
#: Prints what a history did, to compare with the same history elsewhere.
DIGEST = """
import sys
from tests.simulation.run import digest
print(digest(7, 400))
"""


def test_every_guarantee_holds_in_simulated_histories():
    seeds, _, first = ASKED.partition(":")
    total, broken = simulate(int(first or 0), int(seeds), MOVES, os.cpu_count() or 1)
    lines = [f"{reproduce(seed, MOVES)}  # {why[:200]}" for seed, why in sorted(broken.items())]
    assert not broken, "\n".join(lines[:5])
    print(tables(total))
    assert missing(total) == [], "what was never tried proves nothing"


def test_the_same_seed_makes_the_same_history():
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1
