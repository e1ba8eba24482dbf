"""Bodies of which the client has read a part, in the ways in which programs read streams."""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import pytest
import requests

import authmaterial
from authmaterial.v1.auth_decoration_pb2 import (
    JsonCondition,
    JsonMemberCondition,
    RejectionCondition,
)

LARGE = b'{"ok": false}' + b" " * 200_000
LINES = b'{"a": 1}\n{"b": 2}\n\nlast'
BOMB = gzip.compress(bytes(50_000_000), 9)
DOUBLE_BOMB = gzip.compress(BOMB, 9)
RAW = {"/large": LARGE, "/empty": b"", "/lines": LINES}
REJECTION = b'{"ok": false, "error": "expired"}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        bodies = {**RAW, "/bomb": BOMB, "/double-bomb": DOUBLE_BOMB}
        body = bodies.get(self.path.removesuffix("?length"), REJECTION)
        if self.path == "/repeat" and self.headers["Authorization"] == "Bearer pendo-v2":
            body = b"new"
        self.send_response(200)
        if self.path == "/gzip":
            body = gzip.compress(b'{"ok": true}')
        if self.path in ("/gzip", "/bomb"):
            self.send_header("Content-Encoding", "gzip")
        if self.path == "/double-bomb":
            self.send_header("Content-Encoding", "gzip, gzip")
        if self.path.endswith("?length"):
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 50_000):
            chunk = body[at : at + 50_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(broker, url):
    broker._hosts.append(url.removeprefix("http://"))
    member = JsonMemberCondition(path=["ok"], bool_value=False)
    broker.rejected_when.append(
        RejectionCondition(statuses=[200], json=JsonCondition(members=[member]))
    )
    with authmaterial.Client(broker.address, plaintext=True) as client:
        yield client


EXPECTED = {"/large": LARGE, "/empty": b"", "/gzip": b'{"ok": true}', "/repeat": b"new"}


def by_content(response):
    return b"".join(response.iter_content(1000))


def by_raw(response):
    text = b""
    while chunk := response.raw.read(777, decode_content=True):
        text += chunk
    return text


@pytest.mark.parametrize("path", EXPECTED)
@pytest.mark.parametrize("read", [by_content, by_raw, lambda response: response.content])
def test_requests(client, url, path, read):
    with requests.Session() as http:
        http.mount("http://", client.requests_adapter("pendo"))
        with http.get(url + path, stream=True) as response:
            assert read(response) == EXPECTED[path]


def by_readinto(raw):
    text, buffer = b"", bytearray(1000)
    while size := raw.readinto(buffer):
        text += buffer[:size]
    return text


def by_read1(raw):
    text = b""
    while chunk := raw.read1(1000):
        text += chunk
    return text


def by_lines(raw):
    lines = list(raw)
    assert all(line.count(b"\n") == 1 for line in lines[:-1])
    return b"".join(lines)


def by_text_lines(raw):
    raw.auto_close = False
    return "".join(io.TextIOWrapper(raw)).encode()


def by_context(raw):
    with raw:
        return raw.read()


@pytest.mark.parametrize("length", ["", "?length"])
@pytest.mark.parametrize("path", RAW)
@pytest.mark.parametrize(
    "read",
    [
        by_readinto,
        by_read1,
        by_lines,
        by_text_lines,
        by_context,
        lambda raw: raw.read(0) + raw.read(5) + raw.read(-1),
        lambda raw: b"".join(raw.readlines()),
        lambda raw: b"".join(raw.stream(1000)),
        lambda raw: raw.data,
        lambda raw: io.TextIOWrapper(raw).read().encode(),
    ],
)
def test_raw_bodies_of_requests(client, url, path, length, read):
    with requests.Session() as http:
        http.mount("http://", client.requests_adapter("pendo"))
        with http.get(url + path + length, stream=True) as response:
            assert read(response.raw) == RAW[path]


@pytest.mark.parametrize("length", ["", "?length"])
@pytest.mark.parametrize("path", RAW)
def test_state_of_raw_bodies(client, url, path, length):
    with requests.Session() as http:
        http.mount("http://", client.requests_adapter("pendo"))
        with http.get(url + path + length, stream=True) as response:
            raw = response.raw
            assert (raw.tell(), raw.closed, raw.isclosed()) == (0, False, False)
            start = raw.read(5)
            assert raw.tell() == len(start)
            assert start + raw.read() == RAW[path]
            assert (raw.tell(), raw.closed, raw.isclosed()) == (len(RAW[path]), True, True)


def test_file_number_of_raw_bodies(client, url):
    with requests.Session() as http:
        http.mount("http://", client.requests_adapter("pendo"))
        with http.get(url + "/large", stream=True) as response:
            assert response.raw.fileno() > 0


@pytest.mark.parametrize(("path", "body"), [("/bomb", BOMB), ("/double-bomb", DOUBLE_BOMB)])
def test_decompression_has_a_limit(client, url, path, body):
    with httpx.Client(transport=client.httpx_transport("pendo")) as http:
        tracemalloc.start()
        with http.stream("GET", url + path) as response:
            assert b"".join(response.iter_raw()) == body
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5_000_000


def test_cancelled_request_keeps_no_connection(client, url, broker):
    async def get():
        inner = httpx.AsyncHTTPTransport()
        transport = client.httpx_async_transport("pendo", inner)
        async with httpx.AsyncClient(transport=transport) as http:
            broker.answers.clear()
            request = asyncio.create_task(http.get(url))
            await asyncio.to_thread(broker.reported.wait, 10)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            broker.answers.set()
            return [
                str(connection)
                for connection in inner._pool.connections
                if not connection.is_idle()
            ]

    assert asyncio.run(get()) == []


@pytest.mark.parametrize("path", EXPECTED)
def test_httpx(client, url, path):
    for http in (
        httpx.Client(auth=client.httpx_auth("pendo")),
        httpx.Client(transport=client.httpx_transport("pendo")),
    ):
        with http, http.stream("GET", url + path) as response:
            assert b"".join(response.iter_bytes(1000)) == EXPECTED[path]


@pytest.mark.parametrize("path", EXPECTED)
def test_aiohttp(client, url, path):
    async def get():
        async with (
            aiohttp.ClientSession(middlewares=(client.aiohttp_middleware("pendo"),)) as http,
            http.get(url + path) as response,
        ):
            return b"".join([chunk async for chunk in response.content.iter_chunked(1000)])

    assert asyncio.run(get()) == EXPECTED[path]
