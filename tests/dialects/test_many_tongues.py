"""One task, many tongues: whoever has made it, every wire that has words for it shows it, by its own id and in its own words."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from taskyard.app import DIALECTS
from taskyard.service.services import build_services
from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from tests.conftest import Clock, Yard, new_id
from tests.dialects.shared import NAMES, WAYS, Wire
from tests.served import serving

TOLD = ("delayed", "ready", "blocked", "running", "succeeded", "failed", "canceled")


@pytest.mark.parametrize("way", TOLD)
@pytest.mark.parametrize("maker", NAMES)
def test_every_wire_shows_what_another_has_made_if_it_has_words_for_it(yard, maker, way):
    wires = {name: Wire(name, yard) for name in NAMES}
    state, bring_about = WAYS[way]

    task = bring_about(wires[maker])

    for name, wire in wires.items():
        if name == maker or wire.sample.sees_all:
            assert wire.sample.look(wire, task) == wire.sample.words.get(way, wire.dialect.states[state])


# -- on a real server ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path):
    """A yard in a file of its own, that a server in another process shares with this one."""
    database = SqliteDatabase(tmp_path / "taskyard.db", Clock(datetime.now(UTC)))
    database.migrate()
    store = Store(database)

    def first(records: Records) -> int:
        number = records.accounts.insert_organisation("default", "Default", {}, records.now)
        assert number is not None
        return number

    yield Yard(store, build_services(new_id, lambda: 0.0), Clock(datetime.now(UTC)), store.write(first))
    store.close()


@pytest.fixture
def wires(opened, tmp_path):
    """A wire of each dialect that can be mounted, whose settings lie where the server reads them."""
    made = {name: Wire(name, opened) for name in ("native", *DIALECTS)}
    tables = {name: wire.place.settings for name, wire in made.items() if wire.place.settings}
    (tmp_path / "taskyard.toml").write_text(
        "".join(
            f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
            for name, table in tables.items()
        )
    )
    (tmp_path / "taskyard.key").write_text(made["native"].place.credentials["Authorization"].split()[1])
    return made


def _toml(value):
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def test_all_are_mounted_side_by_side_and_show_one_another_s_tasks(wires, opened, tmp_path):
    with serving(tmp_path, "--no-worker") as server:
        served = {name: wire.served_at(server.url + wire.dialect.prefix) for name, wire in wires.items()}
        for name, wire in served.items():
            is_there(wire)
            for way in (
                "running",
                "succeeded",
                "canceled",
                "ready",
            ):  # one that is ready would be claimed next
                state, bring_about = WAYS[way]
                task = bring_about(wires[name])
                for viewer, other in served.items():
                    if other.sample.sees_all or (viewer == name and way == "succeeded"):
                        assert other.sample.look(other, task) == other.dialect.states[state]


@pytest.mark.parametrize("name", DIALECTS)
def test_each_stands_alone_at_the_root_of_a_port(wires, tmp_path, name):
    with serving(tmp_path, "--no-worker", "--dialect", name) as server:
        wire = wires[name].served_at(server.url + wires[name].dialect.base)
        is_there(wire)
        task = wire.sample.show(wire)

        assert wire.sample.look(wire, task) == wire.dialect.states[wire.yard.get(task).state]
        shown = [
            id for page in wire.sample.walk(wire) for id in page
        ]  # there may be some that the server has made
        assert shown.count(wire.sample.id_of(task)) == 1


def is_there(wire):
    """Fail unless a wire answers who may ask, turns away who may not, and has its own word for what it does not know."""
    lists = wire.sample.lists(wire.place)
    assert wire.ask("GET", lists, params=wire.place.query).status_code == 200
    assert wire.ask("HEAD", lists, params=wire.place.query).content == b""
    assert wire.ask("GET", lists, params=wire.place.query, headers={}).status_code == 401
    assert wire.ask("GET", "/nothing/at/all").status_code == 404
    assert wire.ask("TRACE", lists, params=wire.place.query).status_code == 405
    for method, path, _ in wire.sample.bodies(wire.place):
        assert 400 <= wire.ask(method, path, raw=b"{", params=wire.place.query).status_code < 500
