"""Bodies of which the client has read a part, in the ways in which programs read streams."""

from __future__ import annotations

import asyncio
import gzip
import threading
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
REJECTION = b'{"ok": false, "error": "expired"}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = {"/large": LARGE, "/empty": b""}.get(self.path, REJECTION)
        if self.path == "/repeat" and self.headers["Authorization"] == "Bearer pendo-v2":
            body = b"new"
        self.send_response(200)
        if self.path == "/gzip":
            body = gzip.compress(b'{"ok": true}')
            self.send_header("Content-Encoding", "gzip")
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
