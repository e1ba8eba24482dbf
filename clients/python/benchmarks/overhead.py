"""Measures the microseconds that the client adds to a request.

Run it from clients/python: `PYTHONPATH=src:tests .venv/test/bin/python benchmarks/overhead.py`.
Each HTTP client sends requests to a server in this process, in turns without and with the client.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable

import aiohttp
import httpx
import requests

import authmaterial

from fake_broker import FakeBroker

REQUESTS = 300
TURNS = 15
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
    except asyncio.IncompleteReadError:
        writer.close()


def _serve() -> int:
    """Start a server in a thread, and return its port."""
    ports: list[int] = []
    ready = threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    ready.wait()
    return ports[0]


def _compare(name: str, without: Callable[[], object], with_client: Callable[[], object]) -> None:
    times: dict[Callable[[], object], list[float]] = {without: [], with_client: []}
    for _ in range(TURNS):
        for send, measured in times.items():
            start = time.perf_counter()
            for _ in range(REQUESTS):
                send()
            measured.append((time.perf_counter() - start) / REQUESTS * 1e6)
    plain, added = (statistics.median(measured) for measured in times.values())
    print(f"{name:12} {plain:7.0f} µs without, {added:7.0f} µs with, {added - plain:+6.0f} µs")


def main() -> None:
    """Measure all HTTP clients."""
    port = _serve()
    url = f"http://127.0.0.1:{port}/"
    broker_server = FakeBroker(f"127.0.0.1:{port}")
    broker = authmaterial.Client(broker_server.address, plaintext=True)

    plain, http = httpx.Client(), httpx.Client(auth=broker.httpx_auth("pendo"))
    _compare("httpx", lambda: plain.get(url), lambda: http.get(url))

    session, mounted = requests.Session(), requests.Session()
    mounted.mount("http://", broker.requests_adapter("pendo"))
    _compare("requests", lambda: session.get(url), lambda: mounted.get(url))

    loop = asyncio.new_event_loop()
    async_plain, async_http = (
        httpx.AsyncClient(),
        httpx.AsyncClient(auth=broker.httpx_auth("pendo")),
    )
    _compare(
        "httpx async",
        lambda: loop.run_until_complete(async_plain.get(url)),
        lambda: loop.run_until_complete(async_http.get(url)),
    )

    async def sessions() -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        middleware = broker.aiohttp_middleware("pendo")
        return aiohttp.ClientSession(), aiohttp.ClientSession(middlewares=[middleware])

    async def get(session: aiohttp.ClientSession) -> None:
        async with session.get(url) as response:
            await response.read()

    one, two = loop.run_until_complete(sessions())
    _compare(
        "aiohttp",
        lambda: loop.run_until_complete(get(one)),
        lambda: loop.run_until_complete(get(two)),
    )
    for closing in (one.close(), two.close(), async_plain.aclose(), async_http.aclose()):
        loop.run_until_complete(closing)
    broker.close()
    broker_server.close()


if __name__ == "__main__":
    main()
