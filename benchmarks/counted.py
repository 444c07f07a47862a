"""``python -m benchmarks.counted FILE taskyard …``: runs it, and keeps in FILE how many statements it has given to SQLite."""

import os
import runpy
import sys
from itertools import count

import apsw


def main() -> None:
    file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
    numbers = count(1)

    def counted(_: object) -> None:
        os.pwrite(file, b"%d" % next(numbers), 0)

    apsw.connection_hooks.append(
        lambda connection: connection.trace_v2(apsw.SQLITE_TRACE_STMT, counted, id=counted)
    )
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
