"""Networks that lose everything without a word: between two network namespaces, and behind a proxy that stops passing on."""

import os
import secrets
import selectors
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

#: A neighbour that is nobody: what is sent to it is gone, and nobody says so.
NOBODY = "02:00:00:00:00:66"


class Network(Protocol):
    """A way from a host to the database's server that can be cut."""

    #: Begins the command of a program that runs on the host.
    on_host: Sequence[str]

    def cut(self) -> None: ...

    def mend(self) -> None: ...

    def remove(self) -> None: ...


def namespaces_allowed() -> bool:
    """Say whether this machine lets us have network namespaces: Linux, and root."""
    if os.geteuid() != 0:
        return False
    name = f"yard-{secrets.token_hex(3)}"
    with suppress(OSError):
        if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0:
            made = subprocess.run(
                ["ip", "-n", name, "link", "add", "v0", "type", "veth"], capture_output=True
            )
            subprocess.run(["ip", "netns", "delete", name], check=True)
            return made.returncode == 0
    return False


class Namespace:
    """A host of its own: another network namespace, joined to this one by a cable."""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.name = f"yard-{tag}"
        self._here, self._there = f"yh{tag}", f"yt{tag}"
        net = f"10.231.{secrets.randbelow(250)}"
        self.address, self._their_address = f"{net}.1", f"{net}.2"
        self.range = f"{net}.0/30"
        self.on_host = ("ip", "netns", "exec", self.name)
        _ip("netns", "add", self.name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
        _ip("link", "set", self._there, "netns", self.name)
        _ip("addr", "add", f"{self.address}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip("-n", self.name, "addr", "add", f"{self._their_address}/30", "dev", self._there)
        _ip("-n", self.name, "link", "set", self._there, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def cut(self) -> None:
        permanent = ("lladdr", NOBODY, "nud", "permanent")
        _ip("neigh", "replace", self._their_address, *permanent, "dev", self._here)
        _ip("-n", self.name, "neigh", "replace", self.address, *permanent, "dev", self._there)

    def mend(self) -> None:
        _ip("neigh", "delete", self._their_address, "dev", self._here)
        _ip("-n", self.name, "neigh", "delete", self.address, "dev", self._there)

    def remove(self) -> None:
        _ip("netns", "delete", self.name)  # and the cable with it


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


class Proxy:
    """
    A box between: passes on what comes until it is cut. Then it goes on to acknowledge what it never delivers, or delivers late,
    so TCP itself notices nothing.
    """

    on_host: Sequence[str] = ()

    def __init__(self, server: str) -> None:
        """*server* is the path of the server's socket."""
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._closed = False
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._passes.clear()

    def mend(self) -> None:
        self._passes.set()

    def remove(self) -> None:
        self._closed = True
        self._passes.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
            except OSError:
                continue
            self._sockets += [client, server]
            for here, there in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(here, there), daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, suppress(OSError, ValueError):
            selector.register(here, selectors.EVENT_READ)
            while not self._closed:
                selector.select()
                data = here.recv(65536)
                self._passes.wait()  # what was received before is passed on late
                if not data:
                    there.shutdown(socket.SHUT_WR)
                    return
                there.sendall(data)
