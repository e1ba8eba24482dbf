"""The adapter for httpx."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Generator
from typing import Any, Optional

import httpx

from authmaterial._credential import Credential
from authmaterial._decoration import Decoration
from authmaterial._httpx_peeked import AsyncPeekedStream, PeekedStream
from authmaterial._rejection import MAX_BODY, is_readable, matches

# The content codings that httpx decodes. It does not change a body with another coding.
_CODINGS = ("gzip", "deflate", "br", "zstd")


class Auth(httpx.Auth):
    """Adds the material of a credential to requests, at the moment at which they are sent.

    httpx copies the headers of a request to the next one when it follows a redirect, so the
    material is not put on the requests of httpx. The extension ``trace`` of httpcore shows each
    request before it is sent, redirects included.
    """

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def __repr__(self) -> str:
        return f"<authmaterial httpx.Auth for {self._credential.id!r}>"

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        exchange = _Exchange(self._credential, self._credential.get())
        response = yield exchange.first(request, exchange.trace)
        sent = exchange.sent()
        if sent is not None and _is_rejection(response, sent):
            successor = self._credential.replace(sent, response.status_code)
            again = exchange.again(response, successor)
            if again is not None:
                yield again

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        exchange = _Exchange(self._credential, await self._credential.get_async())
        response = yield exchange.first(request, exchange.trace_async)
        sent = exchange.sent()
        if sent is not None and await _is_rejection_async(response, sent):
            successor = await self._credential.replace_async(sent, response.status_code)
            again = exchange.again(response, successor)
            if again is not None:
                yield again


class Transport(httpx.BaseTransport):
    """Adds the material of a credential to a copy of each request, redirects included."""

    def __init__(self, credential: Credential, transport: Optional[httpx.BaseTransport]) -> None:
        self._credential = credential
        self._transport = transport or httpx.HTTPTransport()

    def __repr__(self) -> str:
        return f"<authmaterial httpx.Transport for {self._credential.id!r}>"

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = self._credential.get()
        if not _is_allowed(self._credential, sent, request):
            return self._transport.handle_request(request)
        response = self._send(request, sent)
        if _is_rejection(response, sent):
            successor = self._credential.replace(sent, response.status_code)
            if successor and _is_repeatable(request) and not _refusal(successor, request):
                response.close()
                response = self._send(request, successor)
        return response

    def _send(self, request: httpx.Request, decoration: Decoration) -> httpx.Response:
        self._credential.sent(decoration)
        response = self._transport.handle_request(_decorate(request, decoration))
        _clean_location(response.headers, request, decoration)
        return response

    def close(self) -> None:
        self._transport.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """Adds the material of a credential to a copy of each request, redirects included."""

    def __init__(
        self, credential: Credential, transport: Optional[httpx.AsyncBaseTransport]
    ) -> None:
        self._credential = credential
        self._transport = transport or httpx.AsyncHTTPTransport()

    def __repr__(self) -> str:
        return f"<authmaterial httpx.AsyncTransport for {self._credential.id!r}>"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = await self._credential.get_async()
        if not _is_allowed(self._credential, sent, request):
            return await self._transport.handle_async_request(request)
        response = await self._send(request, sent)
        try:
            successor = await self._successor(request, response, sent)
        except BaseException:  # the program has cancelled the request
            await response.aclose()
            raise
        if successor is not None:
            await response.aclose()
            response = await self._send(request, successor)
        return response

    async def _successor(
        self, request: httpx.Request, response: httpx.Response, sent: Decoration
    ) -> Optional[Decoration]:
        """Return the decoration with which the request is repeated, or None."""
        if not await _is_rejection_async(response, sent):
            return None
        successor = await self._credential.replace_async(sent, response.status_code)
        if successor is None or not _is_repeatable(request) or _refusal(successor, request):
            return None
        return successor

    async def _send(self, request: httpx.Request, decoration: Decoration) -> httpx.Response:
        self._credential.sent(decoration)
        response = await self._transport.handle_async_request(_decorate(request, decoration))
        _clean_location(response.headers, request, decoration)
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Exchange:
    """A request of the program, with the requests that follow from redirects."""

    def __init__(self, credential: Credential, decoration: Decoration) -> None:
        self._credential = credential
        self._decoration = decoration
        self._sent: Optional[Decoration] = None
        self._is_traced = False
        self._asked = ""
        self._program_trace: Any = None

    def first(self, request: httpx.Request, trace: object) -> httpx.Request:
        """Return a copy of the program's request that is traced."""
        self._credential.check(_refusal(self._decoration, request))
        self._asked = str(request.url)
        self._program_trace = request.extensions.get("trace")
        first = copy.copy(request)
        first.stream = request.stream
        first.extensions = {**request.extensions, "trace": trace}
        return first

    def sent(self) -> Optional[Decoration]:
        """Return the decoration of the last request, or None if it was sent without one."""
        if not self._is_traced:
            raise RuntimeError(
                "the transport of this httpx client does not support the extension `trace`: "
                "use httpx_transport instead of httpx_auth"
            )
        return self._sent

    def again(
        self, response: httpx.Response, successor: Optional[Decoration]
    ) -> Optional[httpx.Request]:
        """Return the request to repeat with another decoration, or None."""
        request = response.request
        if successor is None or not _is_repeatable(request) or _refusal(successor, request):
            return None
        self._decoration = successor
        return request

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Handle an event of httpcore."""
        if name.endswith(".send_request_headers.started"):
            self._send(info["request"])
        elif name.endswith(".receive_response_headers.complete"):
            self._receive(info["return_value"])
        if self._program_trace is not None:
            self._program_trace(name, info)

    async def trace_async(self, name: str, info: dict[str, Any]) -> None:
        """Handle an event of httpcore in an event loop."""
        if name.endswith(".send_request_headers.started"):
            self._send(info["request"])
        elif name.endswith(".receive_response_headers.complete"):
            self._receive(info["return_value"])
        if self._program_trace is not None:
            await self._program_trace(name, info)

    def _send(self, request: Any) -> None:
        self._is_traced = True
        self._sent = None
        url, decoration = request.url, self._decoration
        host_header = httpx.Headers(request.headers).get("host")
        if request.method == b"CONNECT" or decoration.refusal(
            url.scheme.decode(),
            url.host.decode(),
            url.port,
            host_header,
        ):
            return
        request.headers = decoration.add_to_headers(request.headers)
        target = decoration.add_to_target(url.target.decode("ascii")).encode("ascii")
        request.url = type(url)(scheme=url.scheme, host=url.host, port=url.port, target=target)
        self._sent = decoration
        self._credential.sent(decoration)

    def _receive(self, values: tuple[Any, ...]) -> None:
        headers = next(value for value in values if isinstance(value, list))
        for index, (name, value) in reversed(list(enumerate(headers))):
            if name.lower() == b"location":
                location = value.decode("latin-1")
                cleaned = self._decoration.clean_location(location, self._asked)
                if cleaned is None:
                    del headers[index]
                elif cleaned != location:
                    headers[index] = (name, cleaned.encode("latin-1"))


def _is_rejection(response: httpx.Response, decoration: Decoration) -> bool:
    rejected, conditions = decoration.rejection.decide(response.status_code, response.headers.get)
    if not conditions or not is_readable(response.headers.get):
        return rejected
    stream = response.stream = PeekedStream(response.stream)
    return matches(_decoded(response, stream.peek()), conditions)


async def _is_rejection_async(response: httpx.Response, decoration: Decoration) -> bool:
    rejected, conditions = decoration.rejection.decide(response.status_code, response.headers.get)
    if not conditions or not is_readable(response.headers.get):
        return rejected
    stream = response.stream = AsyncPeekedStream(response.stream)
    return matches(_decoded(response, await stream.peek()), conditions)


def _decoded(response: httpx.Response, raw: bytes) -> bytes:
    """Return a body after decompression, or nothing if it is too large or has another coding."""
    values = response.headers.get_list("Content-Encoding", split_commas=True)
    codings = [value.lower() for value in values if value.lower() in _CODINGS]
    if not codings:
        return raw
    if codings not in (["gzip"], ["deflate"]):
        return b""  # a few bytes can become megabytes
    decoded = bytearray()
    # Compressed text may be short and its content huge, so it is decompressed in small pieces.
    pieces = (raw[at : at + 32] for at in range(0, len(raw), 32))
    try:
        for chunk in httpx.Response(200, headers=response.headers, content=pieces).iter_bytes():
            decoded += chunk
            if len(decoded) > MAX_BODY:
                return b""
    except httpx.DecodingError:
        return b""
    return bytes(decoded)


def _refusal(decoration: Decoration, request: httpx.Request) -> Optional[str]:
    url = request.url
    return decoration.refusal(
        url.scheme, url.raw_host.decode("ascii"), url.port, request.headers.get("host")
    )


def _is_allowed(credential: Credential, decoration: Decoration, request: httpx.Request) -> bool:
    """Report whether a request gets the material. Only a redirect may be sent without it."""
    # httpx copies the extensions of a request when it follows a redirect.
    first = request.extensions.setdefault("authmaterial.first", request)
    refusal = _refusal(decoration, request)
    if first is request:
        credential.check(refusal)
    return refusal is None


def _decorate(request: httpx.Request, decoration: Decoration) -> httpx.Request:
    target = decoration.add_to_target(request.url.raw_path.decode("ascii"))
    return httpx.Request(
        request.method,
        request.url.copy_with(raw_path=target.encode("ascii")),
        headers=decoration.add_to_headers(request.headers.raw),
        stream=request.stream,
        extensions=request.extensions,
    )


def _clean_location(headers: httpx.Headers, request: httpx.Request, decoration: Decoration) -> None:
    location = headers.get("location")
    if location is not None:
        cleaned = decoration.clean_location(location, str(request.url))
        if cleaned is None:
            del headers["location"]
        elif cleaned != location:
            headers["location"] = cleaned


def _is_repeatable(request: httpx.Request) -> bool:
    return isinstance(request.stream, httpx.ByteStream)
