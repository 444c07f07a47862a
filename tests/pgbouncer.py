"""A real PgBouncer in transaction mode before the tests' server, for the tests that go through a pooler."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.postgres import postgres_url

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class PgBouncer:
    """
    Every database of the server at *url*, behind two server connections each: whoever takes more than one gets another's.

    PgBouncer refuses to run as root; then it runs as ``nobody``.
    """

    def __init__(self, url: str, pool_size: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="yard-pb-"))
        parts = urlsplit(url)
        host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
        (self.folder / "users").write_text(f'"{parts.username or "postgres"}" "{parts.password or ""}"\n')
        (self.folder / "ini").write_text(
            f"""
            [databases]
            * = host={host} port={parts.port or 5432}
            [pgbouncer]
            unix_socket_dir = {self.folder}
            listen_addr =
            listen_port = 6432
            pool_mode = transaction
            default_pool_size = {pool_size}
            max_client_conn = 500
            auth_type = trust
            auth_file = {self.folder}/users
            logfile = {self.folder}/log
            """.replace("            ", "")
        )
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.folder.chmod(0o755)
        self.start()

    def url(self, database: str) -> str:
        return f"{postgres_url(self.folder, database)}&port=6432"

    def start(self) -> None:
        assert PROGRAM is not None
        self._process = subprocess.Popen([PROGRAM, "-q", self.folder / "ini"], **self._as)
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(f"{self.folder}/.s.PGSQL.6432") == 0

    def stop(self) -> None:
        """End it at once, and every connection through it."""
        self._process.kill()
        self._process.wait()
        (self.folder / ".s.PGSQL.6432").unlink(missing_ok=True)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def settings_through(url: str, *names: str) -> list[str]:
    """Return what another program that comes through the same pooler finds set."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as raw:
        return [raw.execute(f"SHOW {name}".encode()).fetchall()[0][0] for name in names]
