"""DBOS on SQLite: https://docs.dbos.dev/python/tutorials/queue-tutorial"""

import sqlite3
import sys
from contextlib import suppress
from typing import Any

if sqlite3.sqlite_version_info < (3, 42):  # its schema needs that
    with suppress(ImportError):
        import pysqlite3

        sys.modules["sqlite3"] = pysqlite3

from benchmarks.peers import dbos_postgres as same

STORE, NEEDS, SLOW = "sqlite", ("dbos",), True
KEEPS = "yes"
SETTINGS = same.SETTINGS


def setup(url: str) -> None:
    same.setup(f"sqlite:///{url}")


class Producer(same.Producer):
    def __init__(self, url: str) -> None:
        super().__init__(f"sqlite:///{url}")


def work(url: str, tally: Any) -> None:
    same.work(f"sqlite:///{url}", tally)
