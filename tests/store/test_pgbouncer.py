"""Everything works through PgBouncer in transaction mode, where each transaction may run on another server connection."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import pytest

from taskyard.core.errors import Unavailable
from taskyard.core.outcome import Done
from taskyard.core.task import State
from taskyard.service.services import build_services
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.store import Store
from tests.conftest import Yard, new_id
from tests.pgbouncer import PROGRAM, PgBouncer, settings_through

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


@pytest.fixture(scope="module")
def pooler(postgres):
    pooler = PgBouncer(postgres.url)
    yield pooler
    pooler.remove()


@pytest.fixture
def url(postgres, pooler):
    direct = postgres.empty_database()
    yield pooler.url(urlsplit(direct).path[1:])
    postgres.drop(direct)


@pytest.fixture
def yards(url, clock):
    """Two processes' worth of stores, more connections than the pooler has."""
    PostgresDatabase(url).migrate()
    stores = [Store(PostgresDatabase(url, now=clock)) for _ in range(2)]
    organisation = stores[0].write(lambda r: r.accounts.insert_organisation("default", "Default", {}, r.now))
    assert organisation is not None
    yield [Yard(store, build_services(new_id, lambda: 0.0), clock, organisation) for store in stores]
    for store in stores:
        store.close()


def test_a_pooler_is_noticed_without_being_told(url, postgres):
    assert PostgresDatabase(url).open(writes=True).preamble is not None
    assert PostgresDatabase(postgres.url).open(writes=True).preamble is None


def test_an_address_may_say_that_there_is_none(url):
    opened = PostgresDatabase(f"{url}&pooler=off").open(writes=True)

    assert opened.preamble is None


def test_every_transaction_has_our_settings_and_leaves_none_behind(yards, url):
    def found(records):
        records.accounts.organisations()
        raw = records.connection._raw
        return [
            raw.execute(f"SHOW {name}".encode()).fetchall()[0][0]
            for name in ("jit", "enable_seqscan", "search_path")
        ]

    for yard in yards:
        assert yard.store.write(found) == ["off", "off", "taskyard"]
        assert yard.store.read(found) == ["off", "off", "taskyard"]
    assert "taskyard" not in settings_through(url, "search_path")[0]
    assert settings_through(url, "enable_seqscan") == ["on"]


def test_many_on_few_connections_do_all_there_is_to_do_once(yards):
    def submit(yard):
        return [yard.submit(input=n, key=new_id(), labels={"n": str(n)}).id for n in range(40)]

    def work(yard):
        worker, done = yard.worker(), []
        while len(done) < 200 and (tasks := worker.claim(3)):
            done += [yard.settle(task, Done(task.input)).id for task in tasks]
        return done

    with ThreadPoolExecutor(8) as threads:
        submitted = [id for ids in threads.map(submit, [*yards, *yards]) for id in ids]
        looked = threads.map(lambda yard: [yard.get(id).state for id in submitted], yards)
        settled = [id for ids in threads.map(work, [*yards, *yards]) for id in ids]
        assert all(len(states) == len(submitted) for states in looked)

    assert sorted(settled) == sorted(submitted)
    assert {yards[0].get(id).state for id in submitted} == {State.SUCCEEDED}


def test_a_part_that_fails_is_undone_alone(yards):
    def wrong(records):
        records.accounts.insert_organisation("never", "", {}, records.now)
        with contextlib.suppress(ValueError), records.connection.savepoint():
            records.accounts.insert_organisation("undone", "", {}, records.now)
            raise ValueError
        return [each.name for each in records.accounts.organisations()]

    assert yards[0].store.write(wrong) == ["default", "never"]


def test_nothing_listens_through_a_pooler_and_nothing_hangs(url):
    assert list(PostgresDatabase(url).listen()) == []


def test_a_pooler_that_restarts_is_found_again(yards, pooler):
    task = yards[0].submit()
    pooler.stop()
    with pytest.raises(Unavailable):
        yards[0].submit()
    pooler.start()

    assert persist(partial(yards[0].get, task)) == task
    assert persist(yards[0].submit).number > task.number


def persist(call):
    while True:
        with contextlib.suppress(Unavailable):
            return call()
