"""PostgreSQL goes away and comes back: nothing acknowledged is lost, nothing unknown is called a success, and it heals by itself."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from taskyard.core.errors import LeaseLost, TaskyardError, Unavailable
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.task import State
from taskyard.service.services import build_services
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.store import Store
from tests.conftest import Yard, new_id
from tests.postgres import Cluster, with_database


@pytest.fixture(scope="module")
def cluster():
    """A server of this module's own: it is going to be stopped badly."""
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
def url(cluster):
    name = f"yard_{new_id().replace('-', '')}"
    with psycopg.connect(cluster.url, autocommit=True) as raw:
        raw.execute(f"CREATE DATABASE {name}".encode())
    return with_database(cluster.url, name)


@pytest.fixture
def yard(url, clock):
    database = PostgresDatabase(url, now=clock)
    database.migrate()
    store = Store(database)
    organisation = store.write(lambda r: r.accounts.insert_organisation("default", "Default", {}, r.now))
    assert organisation is not None
    yield Yard(store, build_services(new_id, lambda: 0.0), clock, organisation)
    store.close()


def cut_off(url, which="application_name = 'taskyard'"):
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {which} AND pid <> pg_backend_pid()".encode()
        )


def persist(call):
    """Do *call* until the database answers, as a client does; its pauses are those of the connection's back-off."""
    while True:
        with contextlib.suppress(Unavailable):
            return call()


def test_a_connection_that_was_cut_off_while_it_idled_is_made_anew_unnoticed(yard, url):
    task = yard.submit()
    cut_off(url)

    assert yard.get(task) == task
    assert yard.submit().number == task.number + 1
    cut_off(url)
    cut_off(url)
    assert yard.submit().number == task.number + 2


def test_a_transaction_that_is_cut_off_in_the_middle_is_refused_and_leaves_nothing(yard, url):
    def interrupted(records):
        records.accounts.insert_organisation("never", "never", {}, records.now)
        cut_off(url)
        return records.accounts.organisations()

    with pytest.raises(Unavailable, match="does not answer"):
        yard.store.write(interrupted)

    assert [each.name for each in yard.store.read(lambda r: r.accounts.organisations())] == ["default"]
    assert yard.submit().state is State.READY


def test_a_savepoint_in_which_it_is_cut_off_is_refused_as_a_whole(yard, url):
    def interrupted(records):
        records.accounts.insert_organisation("never", "never", {}, records.now)
        with contextlib.suppress(ValueError), records.connection.savepoint():
            cut_off(url)
            records.accounts.organisations()

    with pytest.raises(Unavailable):
        yard.store.write(interrupted)
    assert len(yard.store.read(lambda r: r.accounts.organisations())) == 1


def test_a_commit_whose_answer_is_lost_is_never_called_a_success(yard, url):
    """The trigger runs at the commit: the server dies for this connection after all the work and before the answer."""
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(
            b"""CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER die AFTER INSERT ON taskyard.organisations DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION die()"""
        )

    with pytest.raises(
        Unavailable, match="broke during the commit, so it is not known whether this was done"
    ):
        yard.store.write(lambda r: r.accounts.insert_organisation("unknown", "", {}, r.now))
    assert yard.submit().state is State.READY


def test_an_error_that_was_swallowed_inside_is_not_committed_as_a_success(yard):
    """PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, and no error."""

    def swallowing(records):
        records.accounts.insert_organisation("never", "", {}, records.now)
        with contextlib.suppress(psycopg.Error):
            records.connection.rows("read_feed", tx="not a number", seq=0, limit=1)

    with pytest.raises(RuntimeError, match="had failed before its commit"):
        yard.store.write(swallowing)
    assert len(yard.store.read(lambda r: r.accounts.organisations())) == 1


def test_while_it_is_away_everybody_is_told_so_at_once_and_afterwards_all_is_well(cluster, yard):
    task = yard.submit()
    cluster.stop("immediate")
    try:
        for _ in range(20):  # the first finds out, the others are told within the back-off: nobody hangs
            with pytest.raises(
                Unavailable, match=r"PostgreSQL at \S+/yard_\w+ (does not answer|cannot be reached)"
            ):
                yard.submit()
            with pytest.raises(Unavailable):
                yard.get(task)
    finally:
        cluster.start()

    assert persist(lambda: yard.get(task)) == task
    assert persist(yard.submit).number > task.number


def test_who_asks_too_soon_after_a_failure_does_not_reach_for_the_server(cluster, url):
    ticks = iter([0.0, 0.0, 0.01, 100.0, 100.0, 100.0])
    database = PostgresDatabase(url, monotonic=lambda: next(ticks))
    cluster.stop("immediate")
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            database.connect(writes=True)
        with pytest.raises(Unavailable, match=r"it is tried again in 0\.0 s"):
            database.connect(writes=True)
    finally:
        cluster.start()
    database.connect(writes=True).close()


@pytest.mark.parametrize(
    "disaster", ["the connections are cut off", "the server stops as if it had lost power"]
)
def test_under_load_nothing_acknowledged_is_lost_and_nothing_is_settled_twice(cluster, yard, url, disaster):
    """Submit, claim and settle from several threads while the database fails again and again; then count."""
    submitted, settled, stop = set(), [], threading.Event()

    def submit():
        while not stop.is_set():
            with contextlib.suppress(Unavailable):
                submitted.add(yard.submit(input=len(submitted)).id)

    def work():
        worker = persist(yard.worker)
        while not stop.is_set():
            with contextlib.suppress(Unavailable):
                for task in worker.claim(5):
                    while (
                        True
                    ):  # a holder tells until somebody listens: it is done, or the attempt is somebody else's
                        try:
                            yard.settle(task, Done(task.input))
                            settled.append(task.id)
                        except Unavailable:
                            continue
                        except LeaseLost:
                            pass  # settled by the try whose answer was lost
                        break

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(each) for each in (submit, submit, work, work)]
        for _ in range(3):
            done = len(settled)
            while len(settled) < done + 30:
                for each in running:
                    if each.done():
                        each.result()
            if disaster.startswith("the server"):
                cluster.stop("immediate")
                cluster.start()
            else:
                cut_off(url)
        stop.set()
        for each in running:
            each.result()

    yard.clock.forward(hours=1)
    while persist(yard.reap):
        pass
    finished = persist(lambda: {id: yard.get(id) for id in submitted})
    worker = yard.worker()
    while left := worker.claim(100):
        for task in left:
            yard.settle(task, Done(task.input))
    tasks = {id: yard.get(id) for id in finished}
    assert {task.state for task in tasks.values()} == {State.SUCCEEDED}
    assert all(task.output == task.input for task in tasks.values())
    assert len(settled) == len(set(settled))
    ends = yard.store.read(lambda r: [r.events.of_subject(yard.organisation, id) for id in tasks])
    assert all([event.kind for event in each].count("task.succeeded") == 1 for each in ends)


def test_a_settlement_that_was_made_though_its_answer_was_lost_is_made_once(yard, url):
    worker = yard.worker()
    yard.submit()
    [task] = worker.claim()
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(
            b"""CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER die AFTER UPDATE ON taskyard.tasks DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION die()"""
        )
        with pytest.raises(Unavailable):
            yard.settle(task, Done())
        raw.execute("DROP TRIGGER die ON taskyard.tasks")

    [answer] = yard.store.together(yard.services.work.settle, [Settlement(Hold.of(task), Done())])
    assert not isinstance(answer, TaskyardError)
    [again] = yard.store.together(yard.services.work.settle, [Settlement(Hold.of(task), Done())])
    assert isinstance(again, LeaseLost)


def test_one_that_stops_in_the_middle_does_not_keep_its_locks(yard, url):
    """A process that is frozen holds its worker's row, and the reaper passes over rows that are locked."""
    stuck = PostgresDatabase(url, now=yard.clock).connect(writes=True)
    with stuck.snapshot():
        [(setting,)] = stuck._raw.execute("SHOW idle_in_transaction_session_timeout").fetchall()
    stuck.close()

    assert setting == "10s"


def test_a_server_that_cannot_be_reached_is_named_without_its_password():
    database = PostgresDatabase("postgresql://ana:secret@127.0.0.1:1/yard")
    with pytest.raises(
        Unavailable, match=r"PostgreSQL at 127\.0\.0\.1:1/yard does not answer: .*refused"
    ) as refused:
        database.connect(writes=True)

    assert "secret" not in str(refused.value)


def test_a_user_that_may_not_enter_is_told_so(cluster, url):
    with pytest.raises(Unavailable, match='role "nobody_here" does not exist'):
        PostgresDatabase(url.replace("postgres@", "nobody_here@")).connect(writes=True)


def test_a_database_that_is_not_there_is_named(cluster):
    with pytest.raises(Unavailable, match='database "nowhere" does not exist'):
        PostgresDatabase(with_database(cluster.url, "nowhere")).migrate()
