"""A load of 32 kept connections, each with one request on its way: ``python -m benchmarks.http_load PORT CONNECTIONS SECONDS KEY PATH [BODY]``."""

import asyncio
import json
import sys
import time
from statistics import quantiles


class Connection(asyncio.Protocol):
    def __init__(self, request: bytes, latencies: list[float], refused: list[bytes]) -> None:
        self._request = request
        self._latencies = latencies
        self._refused = refused
        self._buffer = b""
        self._sent = 0.0
        self._needed = 0
        self.going = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer = data if not self._buffer else self._buffer + data
        if not self._needed:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            place = head.find(b"content-length:")
            self._needed = end + 4 + int(head[place + 15 :].split(b"\r\n", 1)[0])
            if not self._buffer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
                self._refused.append(self._buffer)
        if len(self._buffer) >= self._needed:
            self._buffer, self._needed = b"", 0
            self._latencies.append(time.perf_counter() - self._sent)
            if self.going:
                self._send()
            else:
                self._transport.close()


async def load(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    refused: list[bytes] = []
    made = [
        (await loop.create_connection(lambda: Connection(request, latencies, refused), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(min(1.0, seconds / 2))  # warm
    latencies.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = len(latencies) / (time.perf_counter() - began)
    cuts = quantiles(latencies, n=100, method="inclusive")
    for each in made:
        each.going = False
    await asyncio.sleep(0.1)
    if refused:
        raise SystemExit(f"refused: {refused[0].decode()}")
    return {"rate": rate, "p50_ms": cuts[49] * 1e3, "p99_ms": cuts[98] * 1e3}


def main() -> None:
    port, connections, seconds, key, path, *body = sys.argv[1:]
    content = body[0].encode() if body else b""
    request = (
        f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        run = asyncio.run
    print(json.dumps(run(load(int(port), int(connections), float(seconds), request))))


if __name__ == "__main__":
    main()
