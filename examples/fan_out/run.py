"""
Counts the words in the texts of a folder: one task fans out, a task for each text, and in again.

    python examples/fan_out/run.py [FOLDER]

Here the yard is part of the program: no server, no ports, the same tasks.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from yard import count_folder, yard


def main(folder: Path) -> int:
    if not folder.is_dir():
        print(f"error: {folder} is no folder", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        yard.url = f"sqlite:///{place}/words.db"
        with yard, yard.working():
            began = time.perf_counter()
            task = yard.submit(count_folder, {"folder": str(folder.resolve())})
            counted = yard.result(task.id, timeout=300)
            took = time.perf_counter() - began
            attempts = yard.get(task.id).claims
    print(
        f"{counted['files']} files of {folder}, each a task of its own, in {took:.1f} s; the parent ran {attempts} times"
    )
    print(f"{counted['words']:,} words, {counted['different']:,} different; the most common:")
    for word, count in Counter(dict(counted["top"])).most_common():
        print(f"  {count:7,}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
