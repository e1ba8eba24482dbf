"""The HTTP clients that the vectors run with. Each has the same few methods."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any, Optional

import aiohttp
import httpx
import requests
from multidict import CIMultiDict
from yarl import URL

import authmaterial

# httpcore can close an idle connection that another thread is about to use.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)

Headers = list[tuple[str, str]]


class HTTPClient:
    """Sends requests with a credential. `shown` has what the program got from the last one."""

    def __init__(self, broker: authmaterial.Client, ca_file: Optional[str]) -> None:
        self.broker = broker
        self.ca_file = ca_file
        self.shown: list[object] = []
        self.request_after: Optional[dict[str, Any]] = None

    def send(self, operation: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def _note(self, url: object, headers: Headers) -> None:
        self.request_after = {"url": str(url), "headers": headers}


def _body(operation: dict[str, Any]) -> Any:
    body = operation.get("body")
    if body is None or operation.get("body_repeatable", True):
        return body
    return (part for part in (body.encode(),))


async def _async_body(body: str):
    yield body.encode()


def _verify(ca_file: Optional[str]) -> Any:
    return ssl.create_default_context(cafile=ca_file) if ca_file else True


class HttpxSync(HTTPClient):
    def __init__(self, broker, ca_file) -> None:
        super().__init__(broker, ca_file)
        self.client = httpx.Client(verify=_verify(ca_file), timeout=30, limits=LIMITS)

    def send(self, operation):
        auth = self.broker.httpx_auth(operation["credential"])
        return self._send(self.client, auth, operation)

    def _send(self, client, auth, operation):
        request = client.build_request(
            operation["method"],
            operation["url"],
            headers=operation["headers"],
            content=_body(operation),
        )
        try:
            response = client.send(
                request,
                auth=auth,
                follow_redirects=operation["follow_redirects"],
            )
        finally:
            self._note(request.url, list(request.headers.multi_items()))
        self.shown = [response, response.url, response.request, response.request.headers]
        self.shown += [response.headers, response.history, response.next_request]
        return _httpx_result(response)

    def close(self):
        self.client.close()


def _httpx_result(response: httpx.Response) -> dict[str, Any]:
    return {
        "status": response.status_code,
        "headers": list(response.headers.multi_items()),
        "body": response.text,
        "url": str(response.url),
    }


class HttpxTransport(HttpxSync):
    def send(self, operation):
        inner = httpx.HTTPTransport(verify=_verify(self.ca_file))
        transport = self.broker.httpx_transport(operation["credential"], inner)
        with httpx.Client(transport=transport, timeout=30) as client:
            return self._send(client, None, operation)


class Requests(HTTPClient):
    def __init__(self, broker, ca_file) -> None:
        super().__init__(broker, ca_file)
        self.adapters: dict[str, Any] = {}
        self.lock = threading.Lock()

    def send(self, operation):
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self.ca_file or True
            with self.lock:
                adapter = self.adapters.get(operation["credential"])
                if adapter is None:
                    adapter = self.broker.requests_adapter(operation["credential"])
                    self.adapters[operation["credential"]] = adapter
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            request = session.prepare_request(
                requests.Request(operation["method"], operation["url"], data=_body(operation))
            )
            for name, value in operation["headers"]:
                request.headers[name] = value
            try:
                response = session.send(
                    request, allow_redirects=operation["follow_redirects"], timeout=30
                )
            finally:
                self._note(request.url, list(request.headers.items()))
        self.shown = [response, response.url, response.request.headers, response.request.url]
        self.shown += [response.headers, response.history, response.raw.headers, response.__dict__]
        return {
            "status": response.status_code,
            "headers": list(response.headers.items()),
            "body": response.text,
            "url": response.url,
        }

    def close(self):
        for adapter in self.adapters.values():
            adapter._adapter.close()


class AsyncClient(HTTPClient):
    """Runs an event loop in a thread, so that requests of several threads run in it."""

    def __init__(self, broker, ca_file) -> None:
        super().__init__(broker, ca_file)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self._run(self.open())

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def send(self, operation):
        return self._run(self.send_async(operation))

    def close(self):
        self._run(self.close_async())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class HttpxAsync(AsyncClient):
    async def open(self):
        self.client = httpx.AsyncClient(verify=_verify(self.ca_file), timeout=30)

    async def send_async(self, operation):
        auth = self.broker.httpx_auth(operation["credential"])
        return await self._send(self.client, auth, operation)

    async def _send(self, client, auth, operation):
        body = operation.get("body")
        if body is not None and not operation.get("body_repeatable", True):
            body = _async_body(body)
        request = client.build_request(
            operation["method"], operation["url"], headers=operation["headers"], content=body
        )
        try:
            response = await client.send(
                request,
                auth=auth,
                follow_redirects=operation["follow_redirects"],
            )
        finally:
            self._note(request.url, list(request.headers.multi_items()))
        self.shown = [response, response.url, response.request, response.request.headers]
        self.shown += [response.headers, response.history, response.next_request]
        return _httpx_result(response)

    async def close_async(self):
        await self.client.aclose()


class HttpxAsyncTransport(HttpxAsync):
    async def open(self):
        inner = httpx.AsyncHTTPTransport(verify=_verify(self.ca_file))
        self.inner = inner
        await super().open()

    async def send_async(self, operation):
        transport = self.broker.httpx_async_transport(operation["credential"], self.inner)
        client = httpx.AsyncClient(transport=transport, timeout=30)
        return await self._send(client, None, operation)

    async def close_async(self):
        await self.inner.aclose()
        await super().close_async()


class Aiohttp(AsyncClient):
    async def open(self):
        context = _verify(self.ca_file)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    async def send_async(self, operation):
        body = operation.get("body")
        if body is not None and not operation.get("body_repeatable", True):
            body = _async_body(body)
        async with self.session.request(
            operation["method"],
            URL(operation["url"], encoded=True),
            headers=CIMultiDict(operation["headers"]),
            data=body,
            allow_redirects=operation["follow_redirects"],
            middlewares=(self.broker.aiohttp_middleware(operation["credential"]),),
        ) as response:
            text = await response.text()
            self.shown = [response, response.url, response.real_url, response.request_info]
            self.shown += [response.headers, response.raw_headers, response.history]
            return {
                "status": response.status,
                "headers": list(response.headers.items()),
                "body": text,
                "url": str(response.url),
            }

    async def close_async(self):
        await self.session.close()


HTTP_CLIENTS = {
    "httpx": HttpxSync,
    "httpx-async": HttpxAsync,
    "requests": Requests,
    "aiohttp": Aiohttp,
    "httpx-transport": HttpxTransport,
    "httpx-async-transport": HttpxAsyncTransport,
}
