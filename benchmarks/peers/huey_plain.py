"""Huey on SQLite as it comes, without fsync: https://huey.readthedocs.io/en/latest/api.html#SqliteHuey"""

from typing import Any

from benchmarks.peers import huey_fsync as same

STORE, NEEDS, SLOW = "sqlite", ("huey",), False
KEEPS = "no"
SETTINGS = "10 threads, fsync=False as it comes, delays of 1 ms between looks (it polls)"


def setup(url: str) -> None:
    same.huey(url, False)


class Producer(same.Producer):
    FSYNC = False


def work(url: str, tally: Any) -> None:
    same.work(url, tally, fsync=False)
