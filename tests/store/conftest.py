"""What the tests of the store on PostgreSQL share."""

import pytest

from taskyard.service.services import build_services
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.store import Store
from tests.conftest import Yard, new_id


@pytest.fixture
def url(postgres):
    """A PostgreSQL database of the test's own."""
    url = postgres.borrow()
    yield url
    postgres.give_back(url)


@pytest.fixture
def yards(url, clock):
    """Two yards on one database, each with a store of its own: its own writer, connections and caches, as a process of its own has."""
    stores = [Store(PostgresDatabase(url, now=clock)) for _ in range(2)]
    organisation = stores[0].write(lambda r: r.accounts.insert_organisation("default", "Default", {}, r.now))
    assert organisation is not None
    yield [Yard(store, build_services(new_id, lambda: 0.0), clock, organisation) for store in stores]
    for store in stores:
        store.close()
