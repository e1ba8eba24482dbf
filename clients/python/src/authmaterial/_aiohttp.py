"""The middleware for aiohttp."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Optional

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from authmaterial._credential import Credential
from authmaterial._decoration import Decoration
from authmaterial._rejection import MAX_BODY, is_readable, matches

# The target of the last redirect. A session calls the middleware for each request of a chain of
# redirects in the same task.
_redirect: ContextVar[Optional[URL]] = ContextVar("_redirect", default=None)


class Middleware:
    """Adds the material of a credential to requests, redirects included."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def __repr__(self) -> str:
        return f"<authmaterial aiohttp middleware for {self._credential.id!r}>"

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        decoration = await self._credential.get_async()
        refusal = _refusal(request, decoration)
        if refusal is not None:
            if request.url != _redirect.get():
                self._credential.check(refusal)
            response = await handler(request)
        else:
            response = await self._send(request, handler, decoration)
            if await _is_rejection(response, decoration):
                successor = await self._credential.replace_async(decoration, response.status)
                if successor and not _refusal(request, successor) and _is_repeatable(request):
                    response.release()
                    response = await self._send(request, handler, successor)
        _redirect.set(_location(response))
        return response

    async def _send(
        self,
        request: aiohttp.ClientRequest,
        handler: aiohttp.ClientHandlerType,
        decoration: Decoration,
    ) -> aiohttp.ClientResponse:
        url, headers = request.url, request.headers
        target = decoration.add_to_target(url.raw_path_qs)
        if decoration.query:
            request.url = URL(str(url.origin()) + target, encoded=True)
        request.headers = headers.copy()
        for name, value in decoration.headers_for(request.headers):
            request.headers.popall(name, None)
            request.headers[name] = value
        self._credential.sent(decoration)
        try:
            response = await handler(request)
        except aiohttp.ClientError as error:
            request.url, request.headers = url, headers
            if isinstance(error, aiohttp.ClientResponseError):
                error.request_info = request.request_info
                error.args = (error.request_info, *error.args[1:])
            decoration.clean_error(error)
            raise
        finally:
            request.url, request.headers = url, headers
        response._request_info = request.request_info
        _clean(response, request, decoration)
        return response


async def _is_rejection(response: aiohttp.ClientResponse, decoration: Decoration) -> bool:
    def header(name: str) -> Optional[str]:
        values = response.headers.getall(name, [])
        return ", ".join(values) if values else None

    rejected, conditions = decoration.rejection.decide(response.status, header)
    if not conditions or not is_readable(header):
        return rejected
    return matches(await _peek(response.content), conditions)


async def _peek(content: aiohttp.StreamReader) -> bytes:
    """Return a body of at most MAX_BODY bytes, which can be read again, or nothing."""
    start = b""
    try:
        while len(start) <= MAX_BODY:
            chunk = await content.read(MAX_BODY + 1 - len(start))
            if not chunk:
                return start
            start += chunk
    except (aiohttp.ClientError, OSError):
        pass  # the program's next read raises the error again
    finally:
        if start:
            _unread(content, start)
    return b""


def _unread(content: aiohttp.StreamReader, start: bytes) -> None:
    """Put data back to the beginning of a body, as the deprecated unread_data does."""
    if content._buffer_offset:
        content._buffer[0] = content._buffer[0][content._buffer_offset :]
        content._buffer_offset = 0
    content._buffer.appendleft(start)
    content._size += len(start)
    content._cursor -= len(start)
    content._eof_counter = 0


def _refusal(request: aiohttp.ClientRequest, decoration: Decoration) -> Optional[str]:
    url = request.url
    return decoration.refusal(url.scheme, url.raw_host or "", url.port, request.headers.get("Host"))


def _is_repeatable(request: aiohttp.ClientRequest) -> bool:
    return not getattr(request.body, "consumed", False)


def _location(response: aiohttp.ClientResponse) -> Optional[URL]:
    location = response.headers.get("Location")
    if location is None:
        return None
    try:
        return response.url.join(URL(location)).with_fragment(None)
    except ValueError:
        return None


def _clean(
    response: aiohttp.ClientResponse, request: aiohttp.ClientRequest, decoration: Decoration
) -> None:
    location = response._headers.get("Location")
    if location is None:
        return
    cleaned = decoration.clean_location(location, str(request.url))
    if cleaned == location:
        return
    headers = CIMultiDict(response._headers)
    headers.popall("Location")
    if cleaned is not None:
        headers["Location"] = cleaned
    response._headers = CIMultiDictProxy(headers)
    response._cache.pop("headers", None)
    response._cache.pop("raw_headers", None)
    response._raw_headers = tuple(
        (name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers.items()
    )
