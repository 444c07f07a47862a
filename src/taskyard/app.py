"""The composition root: builds the server and the worker out of their parts, and runs them until they are told to stop."""

import asyncio
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from taskyard import __version__
from taskyard.cli.programs import Listening, Serving, Working
from taskyard.config import Config, read_config
from taskyard.core.actor import Actor
from taskyard.core.errors import Invalid
from taskyard.core.hook import STANDARD
from taskyard.core.worker import LEASE
from taskyard.dialects.native import dialect as native
from taskyard.http import server
from taskyard.http.backend import Backend
from taskyard.http.dialect import Dialect, application
from taskyard.http.writing import Protocol
from taskyard.loops.courier import Courier
from taskyard.loops.guard import Guard, networks
from taskyard.loops.handlers import Handlers
from taskyard.loops.post import TIMEOUT, Post
from taskyard.loops.store_desk import StoreDesk
from taskyard.loops.supervisor import Supervisor, server_loops
from taskyard.loops.switchboard import LOOPBACK
from taskyard.loops.worker import SLOTS, Worker
from taskyard.service.hooks import Wire, standard
from taskyard.service.seal import Seal
from taskyard.service.services import Services, build_services
from taskyard.store.opening import migrate, open_database
from taskyard.store.records import Records
from taskyard.store.store import Store
from taskyard.yard import new_id

#: The dialects there are, by the word of ``--dialect``; imported when they are served.
DIALECTS: Final = ("ricloud", "pulp", "nico", "human_lambdas")
#: Beside the database: what seals the credentials of sessions, where no ``secret_key`` is set, and the results of polls.
SEAL_FILE: Final = "taskyard.seal"
RESULTS: Final = "results"
#: sysexits.h EX_IOERR: the disk failed under the database, and only a restart may heal it.
BROKEN: Final = 74
#: How many connections may wait to be accepted: what Linux allows by default.
BACKLOG: Final = 4096
#: How long one thread may keep the interpreter from another: of the event loop and the writer each has what the other waits for.
#: Python's own 5 ms double the slowest answers under load (p99 of 32 connections: 52 ms, and 27 ms with this).
SWITCH_SECONDS: Final = 0.001


def now() -> datetime:
    return datetime.now(UTC)


def serve(serving: Serving, listening: Callable[[Listening], None]) -> int:
    """Serve until told to stop; return the exit code."""
    _log(serving.log_level, as_json=serving.log_json)
    sys.setswitchinterval(SWITCH_SECONDS)
    house = House.build(serving, read_config())
    try:
        return house.run(serving, listening)
    finally:
        house.close()


def work(working: Working, ready: Callable[[str], None]) -> int:
    """Work for a database or a server until told to stop; return the exit code."""
    _log(working.log_level, as_json=working.log_json)
    config = read_config()
    handlers = _handlers_of(working.app)
    if working.url is not None:
        from taskyard.client.desk import HttpDesk

        worker = _worker(HttpDesk(working.url, working.key), handlers, working, working.name)
        return _until_told(worker, ready, working.url, config)
    assert working.database is not None
    store, services = _opened(working.database, config)
    try:
        settings = _settings(config, _beside(working.database))
        _connect(store, services, settings, handlers)
        actor = Actor(
            organisation=store.write(lambda r: _organisation(r, config)), identity="system", name="worker"
        )
        worker = _worker(StoreDesk(store, services, actor), handlers, working, working.name)
        return _until_told(worker, ready, working.database, config)
    finally:
        store.close()


@dataclass
class House:
    """The parts of one server."""

    config: Config
    store: Store
    services: Services
    backend: Backend
    loops: Supervisor
    worker: Worker | None
    organisation: int
    key_file: Path | None
    types: Sequence[str]
    broken: list[Exception] = field(default_factory=list)
    http: uvicorn.Server | None = None

    @classmethod
    def build(cls, serving: Serving, config: Config) -> "House":
        handlers = _handlers_of(serving.app) if serving.app else Handlers()
        types = sorted(handler.type for handler in handlers)
        broken: list[Exception] = []
        store, services = _opened(
            serving.database, config, failed=broken.append, seal=_seal(config, _key_file(serving))
        )
        try:
            organisation, secret = store.write(lambda records: _bootstrapped(records, services, config))
            key_file = _kept_key(serving, secret)
            settings = _settings(config, _beside(serving.database))
            backend = Backend(
                store=store,
                services=services,
                new_id=new_id,
                max_body_bytes=config.max_body_bytes,
                settings=settings,
            )
            _furnish(store, services, config, handlers)
            _connect(store, services, settings, handlers)
            worker = None
            if serving.worker and len(handlers):
                actor = Actor(organisation=organisation, identity="system", name="worker")
                worker = _worker(StoreDesk(store, services, actor), handlers, serving)
            courier = _courier(store, services, config)
            loops = server_loops(store, services, now=now, jitter=random.random, courier=courier)
            return cls(config, store, services, backend, loops, worker, organisation, key_file, types, broken)
        except BaseException:
            store.close()
            raise

    def run(self, serving: Serving, listening: Callable[[Listening], None]) -> int:
        dialects = [_dialect(name) for name in serving.dialects or DIALECTS]
        alone = len(serving.dialects) == 1
        app = self._application(dialects, alone=alone)
        with _bound(serving.host, serving.port) as sock:
            host, port = sock.getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            self.http = _Server(
                uvicorn.Config(
                    app,
                    loop="uvloop" if sys.platform != "win32" else "asyncio",
                    http=Protocol,
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,  # nothing here asks who is at the other end of the line, or by which scheme
                    timeout_graceful_shutdown=max(1, int(self.config.drain_seconds)),
                )
            )
            mounted = [(each.name, url + (each.base if alone else each.prefix)) for each in dialects]
            told = Listening(
                url=url,
                key_file=self.key_file,
                database=self.store.database.url,
                types=self.types,
                dialects=mounted,
            )
            with self.loops:
                if self.worker is not None:
                    self.worker.start()
                self._serve(sock, lambda: listening(told))
        if self.broken:
            print(f"error: {self.broken[0]}", file=sys.stderr)
            return BROKEN
        return 0

    def _serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        http = self.http
        assert http is not None
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve_until_told(http, sock, ready))
        if self.worker is not None:
            self.worker.drain(timedelta(seconds=self.config.drain_seconds))
            self.worker.join(timedelta(seconds=self.config.drain_seconds + 10))

    async def _serve_until_told(
        self, http: uvicorn.Server, sock: socket.socket, ready: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop, http)
        serving = asyncio.create_task(http.serve([sock]))
        while not http.started and not serving.done():  # uvicorn tells it in no other way
            await asyncio.sleep(0.001)
        if http.started:
            ready()
        watching = asyncio.create_task(self._stop_when_broken(http))
        try:
            await serving
        finally:
            watching.cancel()
            await self.backend.close()

    def _stop(self, http: uvicorn.Server) -> None:
        """Begin to stop; asked a second time, wait for nothing any more."""
        grace = 0.0 if http.should_exit else self.config.drain_seconds
        if self.worker is not None:
            self.worker.drain(timedelta(seconds=grace))
        self.backend.let_go()  # who waits for news would hold the server up to the end of its grace
        http.force_exit = http.should_exit
        http.should_exit = True

    async def _stop_when_broken(self, http: uvicorn.Server) -> None:
        while not self.broken:
            await asyncio.sleep(1.0)
        http.should_exit = True

    def _application(self, dialects: Sequence[Dialect], *, alone: bool) -> ASGIApp:
        mounts = [(each.base if alone else each.prefix, each) for each in dialects]
        apps = [
            (at, application(each, self.backend, at=at)) for at, each in [*mounts, (native.prefix, native)]
        ]
        told = Dialect(
            name="server",
            prefix="",
            paths=lambda backend: server.paths(backend, self._health, openapi),
            identify=native.identify,
            refuse=native.refuse,
            states=native.states,
        )
        return _Mounted(apps, application(told, self.backend))

    def _health(self) -> list[dict[str, Any]]:
        found = [
            {"name": pulse.name, "ok": pulse.alive and pulse.error is None, "reason": pulse.error}
            for pulse in self.loops.health()
        ]
        return [{name: value for name, value in each.items() if value is not None} for each in found]

    def close(self) -> None:
        self.store.close()


class _Server(uvicorn.Server):
    """Leaves signals to the house: uvicorn would raise them again at its end, and nothing after it would be closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Mounted:
    """Sends each request to whose prefix its path begins with, the longest first; the rest to the server's own paths."""

    def __init__(self, mounts: Iterable[tuple[str, ASGIApp]], rest: ASGIApp) -> None:
        self._mounts = sorted(mounts, key=lambda mount: len(mount[0]), reverse=True)
        self._rest = rest
        self._own = ("/healthz", "/readyz", "/metrics", "/openapi.json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path not in self._own:
            for prefix, app in self._mounts:
                if path == prefix or path.startswith((prefix + "/", prefix + ":")) or not prefix:
                    await app(scope, receive, send)
                    return
        await self._rest(scope, receive, send)


def _opened(
    url: str,
    config: Config,
    failed: Callable[[Exception], None] = lambda _: None,
    seal: Seal | None = None,
) -> tuple[Store, Services]:
    database = open_database(url, now)
    migrate(database)
    store = Store(database, failed)
    store.listen()
    return store, build_services(new_id, random.random, max_payload_bytes=config.max_payload_bytes, seal=seal)


def _seal(config: Config, key_file: Path) -> Seal:
    """Return what secrets are sealed with: the key that is configured, or one of this server's own, made when it is first needed."""
    return Seal(config.secret_key or partial(_own_secret, key_file.with_name("taskyard.secret")))


def _own_secret(file: Path) -> str:
    try:
        if not file.exists():
            ours = file.with_name(f"{file.name}.{os.getpid()}")
            with os.fdopen(os.open(ours, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
                written.write(secrets.token_urlsafe(32) + "\n")
            with suppress(
                FileExistsError
            ):  # of two servers that make one, both take the first one's, and it is whole
                os.link(ours, file)
            ours.unlink()
        return file.read_text().strip()
    except OSError as error:
        raise Invalid(
            f"secrets are kept encrypted, and the key for that cannot be kept in {file}: {error.strerror}; "
            "set secret_key in [server] of taskyard.toml, or TASKYARD_SECRET_KEY"
        ) from None


def _courier(store: Store, services: Services, config: Config) -> Courier:
    table = dict(config.tables.get("hooks", {}))
    allow, seconds = table.pop("allow", []), table.pop("timeout_seconds", TIMEOUT.total_seconds())
    texts = isinstance(allow, list) and all(isinstance(each, str) for each in allow)
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= 60
    if table or not texts or not number:
        raise Invalid(
            '[hooks] knows allow, a list of networks (["10.1.0.0/16"]), and timeout_seconds, at most 60; nothing else'
        )
    timeout = timedelta(seconds=seconds)
    post = Post(Guard(networks(allow)), agent=f"Taskyard/{__version__}", timeout=timeout)
    return Courier(store, services.hooks, post, _wire, close_post=post.close, timeout=timeout)


def _wire(name: str) -> Wire:
    """Return what writes the letters of a wire."""
    letter = standard if name == STANDARD else _dialect(name).letter
    if letter is None:
        raise Invalid(f"the dialect {name} sends nothing to hooks")
    return letter


def _bootstrapped(records: Records, services: Services, config: Config) -> tuple[int, str | None]:
    """Return the organisation of this server, and the secret of its first key where it was just made."""
    made = services.accounts.bootstrap(records, config.organisation)
    if made is not None:
        organisation, key = made
        return organisation.number, key.secret
    number = _organisation(records, config)
    if records.accounts.keys(number):
        return number, None
    # A program has worked on this database before any server did: nobody has a key yet.
    actor = Actor(organisation=number, identity="system")
    return number, services.accounts.create_key(records, actor, "first").secret


def _organisation(records: Records, config: Config) -> int:
    found = records.accounts.organisation_by_name(config.organisation)
    if found is not None:
        return found.number
    number = records.accounts.insert_organisation(
        config.organisation, config.organisation.capitalize(), {}, records.now
    )
    if number is None:
        raise Invalid(f"there is no organisation {config.organisation!r}, and it could not be made")
    return number


def _key_file(serving: Serving) -> Path:
    return serving.key_file or Path("taskyard.key")


def _kept_key(serving: Serving, secret: str | None) -> Path | None:
    """Write the first key beside the database, for its owner alone; return where a key lies, if one does."""
    file = _key_file(serving)
    if secret is not None:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as written:
            written.write(secret + "\n")
    return file if file.exists() else None


def _furnish(store: Store, services: Services, config: Config, handlers: Handlers) -> None:
    """Give the server what it can do by itself: the operations on racks, when it has an inventory."""
    from taskyard.loops.driver import SimulatedSite
    from taskyard.loops.plan import Plans

    if config.inventory is None:
        return
    from taskyard.service.inventory import read_inventory

    document = _document_of(config.inventory)
    plans = read_inventory(document, organisation=config.organisation)
    store.write(lambda records: services.sites.load(records, plans))
    for organisation in sorted({plan.organisation for plan in plans} - {config.organisation}):
        structlog.get_logger("taskyard").warning(
            "nobody here works on the racks of this organisation; set it under [server], or start a worker of its own",
            organisation=organisation,
        )
    secret = config.tables.get("nico", {}).get("secret_key")
    carried = Plans(
        store, services, {"simulated": SimulatedSite()}, now=now, seal=Seal(secret) if secret else None
    )
    for handler in carried.handlers():
        handlers.add(handler)


def _beside(database: str) -> Path:
    """Return the folder of what is kept beside a database: its own, or this one where it is no file."""
    if database.startswith(("postgresql://", "postgres://")):
        return Path.cwd()
    return Path(database.removeprefix("sqlite:///")).absolute().parent


def _settings(config: Config, folder: Path) -> dict[str, Any]:
    """
    Return what faces are configured with; organisations that use pulp's wire expect its culling tasks, and sources have their seal
    and the folder of results whatever is said.
    """
    from taskyard.service.seal import Seal

    settings: dict[str, Any] = {
        **{name: dict(table) for name, table in config.tables.items()},
        "pulp": {"culling": True, **config.tables.get("pulp", {})},
    }
    sources = settings.setdefault("sources", {})
    secret = sources.pop("secret_key", None) or _kept_secret(folder / SEAL_FILE)
    sources["seal"] = Seal(str(secret)) if secret else None
    sources["results"] = folder / str(sources.get("results", RESULTS))
    return settings


def _kept_secret(file: Path) -> str | None:
    """Return the secret in *file*, which is made for its owner alone where there is none; None where nothing can be written."""
    try:
        if not file.exists():
            part = file.with_name(f"{file.name}.{os.getpid()}")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as written:
                written.write(secrets.token_urlsafe(32) + "\n")
            with suppress(FileExistsError):  # another server was faster
                os.link(part, file)
            part.unlink()
        return file.read_text().strip()
    except OSError as error:
        structlog.get_logger("taskyard").warning(
            "sessions cannot be opened: set secret_key in [sources]", reason=str(error)
        )
        return None


def _connect(store: Store, services: Services, settings: dict[str, Any], handlers: Handlers) -> None:
    """Let the worker of this server open sources, fetch from them, and test the destinations of what comes of that."""
    from taskyard.dialects.ricloud.notify import composer
    from taskyard.loops.connector import MockSource
    from taskyard.loops.fetching import Fetching
    from taskyard.loops.proving import Proving, poster
    from taskyard.loops.storage import LocalStorage

    sources = settings["sources"]
    storages = [LocalStorage(sources["results"])]
    connectors = [MockSource(), *(_named(name)() for name in sources.get("connectors", ()))]
    fetching = Fetching(store, services, connectors, storages, seal=sources["seal"], now=now)
    allow = networks(settings.get("hooks", {}).get("allow", ()))
    post = poster(allow, agent=f"Taskyard/{__version__}")
    proving = Proving(store, services, storages, composer(new_id, now), post)
    for handler in [*fetching.handlers(), *proving.handlers()]:
        handlers.add(handler)


def _named(name: str) -> Any:
    """Return what ``module:name`` stands for. Raises Invalid."""
    from importlib import import_module

    module, colon, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute, None) if colon and module and attribute else None
    except ModuleNotFoundError as error:
        raise Invalid(f"{name!r} cannot be imported: {error}") from None
    if found is None:
        raise Invalid(f"{name!r} names no connector; say module:Class, as in app:Album")
    return found


def _document_of(file: Path) -> Any:
    import tomllib

    try:
        text = file.read_text()
        return msgspec.json.decode(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise Invalid(f"the inventory in {file} cannot be read: {error}") from None


def _handlers_of(app: str) -> Handlers:
    """Return the handlers of ``module:yard``, looked for in the working directory first."""
    from importlib import import_module

    from taskyard.yard import Yard

    module_name, colon, name = app.partition(":")
    if not colon or not module_name or not name:
        raise Invalid(f"{app!r} names no yard; say module:name, as in app:yard")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise Invalid(
                f"there is no module {module_name!r} here; run this in the folder of {module_name}.py"
            ) from None
        raise
    yard = getattr(module, name, None)
    if not isinstance(yard, Yard):
        raise Invalid(f"{app!r} is no Yard; {module_name} has {_shown(yard)}")
    return yard.handlers


def _shown(found: object) -> str:
    return "nothing of that name" if found is None else f"a {type(found).__name__} under that name"


def _worker(desk: Any, handlers: Handlers, running: Serving | Working, name: str | None = None) -> Worker:
    return Worker(
        desk,
        handlers,
        new_id=new_id,
        jitter=random.random,
        slots=running.slots or SLOTS,
        name=name,
        lease=running.lease or LEASE,
        version=__version__,
        reachable_at=running.reachable_at or LOOPBACK,
    )


def _until_told(worker: Worker, ready: Callable[[str], None], where: str, config: Config) -> int:
    grace = timedelta(seconds=config.drain_seconds)
    told = 0

    def drain(_signal: int, _frame: Any) -> None:
        nonlocal told
        told += 1
        worker.drain(grace if told == 1 else timedelta(0))

    before = {each: signal.signal(each, drain) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        worker.start()
        if worker.wait_ready(timedelta(seconds=60)):
            ready(where)
        while not worker.join(timedelta(seconds=1)):
            continue
        return worker.exit_code or 0
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _dialect(name: str) -> Dialect:
    from importlib import import_module

    if name not in DIALECTS:
        raise Invalid(f"there is no dialect {name!r}; there are {', '.join(DIALECTS)}")
    dialect: Dialect = import_module(f"taskyard.dialects.{name}").dialect
    return dialect


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Within: a socket that listens; port 0 takes a free one. Raises Invalid when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise Invalid(
                f"nothing can listen on {host}:{port}: {error.strerror}; name another with --port"
            ) from None
        sock.listen(BACKLOG)
        sock.setblocking(False)
        yield sock


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def openapi() -> bytes:
    """Return the OpenAPI document of the native API."""
    from taskyard.dialects.native.description import described

    return msgspec.json.format(msgspec.json.encode(described()), indent=2) + b"\n"


def _log(level: str, *, as_json: bool) -> None:
    """Write logs to standard error, as lines for people or as JSON; secrets are never given to them."""
    import logging

    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
