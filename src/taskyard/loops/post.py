"""The post: sends one letter and says what came of it, whatever the receiver does."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from taskyard.core.hook import Answer
from taskyard.loops.guard import Guard, Refused
from taskyard.service.hooks import Letter

#: From the look-up of the name to the status of the answer. Standard Webhooks asks for 15 to 30 s.
TIMEOUT: Final = timedelta(seconds=15)
#: What of the body of a refusal is read, and what of it is kept: enough to see what is wrong.
MOST_READ_BYTES: Final = 4 * 1024
MOST_KEPT: Final = 200


class Post:
    """
    Follows no redirects, uses no proxy of the environment, keeps no connection, and sends nothing to where the guard does not
    allow it. Connections are not kept because they are made to addresses: a second name at the same address must not be
    talked to over the first one's.

    Args:
        guard: Says which address of a host is connected to.
        timeout: How long all of one attempt may take.
        agent: The ``User-Agent``.
        verify: What certificates are checked against; the system's authorities by default.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        agent: str,
        timeout: timedelta = TIMEOUT,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        self._timeout = timeout
        self._agent = agent
        self._verify: ssl.SSLContext | bool = True if verify is None else verify
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, letter: Letter) -> Answer:
        began = time.monotonic()
        status: int | None = None
        error: str | None = None
        retry_after: timedelta | None = None
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                status, error, retry_after = await self._send(letter)
        except TimeoutError:
            error = f"no answer within {self._timeout.total_seconds():g} s"
        except Refused as refused:
            error = f"not sent: {refused}"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, UnicodeError) as failure:
            error = f"{type(failure).__name__}: {failure}"[:MOST_KEPT]
        took = timedelta(seconds=time.monotonic() - began)
        return Answer(status=status, error=_storable(error), retry_after=retry_after, took=took)

    async def _send(self, letter: Letter) -> tuple[int, str | None, timedelta | None]:
        url = httpx.URL(letter.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await self._guard.address(url.host, port)
        request = self._connected().build_request(
            "POST",
            url.copy_with(host=address),
            headers={
                **letter.headers,
                "Host": url.netloc.decode("ascii"),
                "User-Agent": self._agent,
                "Connection": "close",
            },
            content=letter.body,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await self._connected().send(request, stream=True)
        try:
            status = response.status_code
            if 200 <= status < 300:  # what is said beside that is nobody's concern
                return status, None, None
            return status, await _told(response), _retry_after(response.headers)
        finally:
            await response.aclose()

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._verify,
                trust_env=False,
                follow_redirects=False,
                timeout=self._timeout.total_seconds(),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
        self._guard.close()


async def _told(response: httpx.Response) -> str:
    """Return what a refusal says, as far as it is worth keeping."""
    head = f"{response.status_code} {response.reason_phrase}".strip()
    if response.is_redirect:
        return f"{head}: redirects are not followed; change the hook's URL"
    body = b""
    with suppress(httpx.HTTPError, TimeoutError, ValueError):
        # As it comes, so that a small body cannot be unpacked into a large one.
        async for part in response.aiter_raw():
            body += part
            if len(body) >= MOST_READ_BYTES:
                break
    text = " ".join(body[:MOST_READ_BYTES].decode("utf-8", "replace").split())
    return f"{head}: {text}"[:MOST_KEPT] if text else head


def _storable(text: str | None) -> str | None:
    return None if text is None else "".join(each if each.isprintable() else "\ufffd" for each in text)


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return how long the receiver asks to wait (RFC 9110, section 10.2.3)."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal() and said.isascii() and len(said) < 10:
        return timedelta(seconds=int(said))
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max(timedelta(0), at - datetime.now(UTC))
