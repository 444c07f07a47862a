"""The guard: to which addresses the server sends what its users tell it to, and to which it never does."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final

from taskyard.core.errors import Invalid
from taskyard.loops.threads import Threads

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Returns the addresses of a host, as text, for a TCP connection.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: RFC 6052: behind these IPv6 addresses stand the IPv4 ones of their last 32 bits.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """No address of the host may be sent to."""


def networks(texts: Sequence[str]) -> list[Network]:
    """
    Read addresses and networks: ``10.1.0.0/16``, ``::1``.

    Raises:
        Invalid: one of them is none.
    """
    try:
        return [ipaddress.ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise Invalid(f"hooks may be sent to networks such as 10.1.0.0/16, and {error}") from None


def is_public(address: Address) -> bool:
    """
    Say whether *address* is one of the open internet, looking through the ways in which IPv6 wraps IPv4.

    >>> is_public(ipaddress.ip_address("::ffff:127.0.0.1")), is_public(ipaddress.ip_address("93.184.215.14"))
    (False, True)
    """
    inner = _inside(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inside(address: Address) -> Address | None:
    """Return the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


class Guard:
    """
    Args:
        allow: Networks that may be sent to although they are not public.
        resolve: Asks for the addresses of a host.
    """

    def __init__(self, allow: Sequence[Network] = (), resolve: Resolve | None = None) -> None:
        self._allow = tuple(allow)
        # A name that does not answer must keep no other from being looked up, and no server from stopping.
        self._threads = Threads("resolver")
        self._resolve = resolve or self._ask

    async def address(self, host: str, port: int) -> str:
        """
        Return the address of *host* to connect to. Whoever connects must take this very one: asked again, a name may
        have another.

        Raises:
            Refused: the host has no address that may be sent to.
            OSError: it has none at all.
        """
        found = list(dict.fromkeys(await self._resolve(host, port)))
        for text in found:
            if self.allows(text):
                return text
        raise Refused(f"{host} is at {', '.join(found)}, which is not a public address")

    def allows(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:  # with a scope (fe80::1%eth0), or no address at all
            return False
        if is_public(address):
            return True
        inner = _inside(address) or address
        return any(each.version == inner.version and inner in each for each in self._allow)

    async def _ask(self, host: str, port: int) -> Sequence[str]:
        asked: Future[Sequence[str]] = Future()
        self._threads.run(partial(_look_up, asked, host, port))
        return await asyncio.wrap_future(asked)

    def close(self) -> None:
        self._threads.close()


def _look_up(asked: "Future[Sequence[str]]", host: str, port: int) -> None:
    if not asked.set_running_or_notify_cancel():
        return
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        asked.set_result([str(each[4][0]) for each in found])
    except Exception as error:
        asked.set_exception(error)
