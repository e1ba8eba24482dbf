"""Bodies of httpx whose beginning has been read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Optional

import httpx

from authmaterial._rejection import MAX_BODY


class PeekedStream(httpx.SyncByteStream):
    """A body that is read from its beginning again, with an error at the same place."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._rest = iter(stream)
        self._start: list[bytes] = []
        self._error: Optional[Exception] = None

    def peek(self) -> bytes:
        """Return a body of at most MAX_BODY bytes, or nothing."""
        size = 0
        try:
            for chunk in self._rest:
                self._start.append(chunk)
                size += len(chunk)
                if size > MAX_BODY:
                    return b""
        except Exception as error:
            self._error = error
            return b""
        return b"".join(self._start)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._start
        if self._error is not None:
            raise self._error
        yield from self._rest

    def close(self) -> None:
        self._stream.close()


class AsyncPeekedStream(httpx.AsyncByteStream):
    """A body that is read from its beginning again, with an error at the same place."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._rest = aiter_of(stream)
        self._start: list[bytes] = []
        self._error: Optional[Exception] = None

    async def peek(self) -> bytes:
        """Return a body of at most MAX_BODY bytes, or nothing."""
        size = 0
        try:
            async for chunk in self._rest:
                self._start.append(chunk)
                size += len(chunk)
                if size > MAX_BODY:
                    return b""
        except Exception as error:
            self._error = error
            return b""
        return b"".join(self._start)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._start:
            yield chunk
        if self._error is not None:
            raise self._error
        async for chunk in self._rest:
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def aiter_of(stream: Any) -> AsyncIterator[bytes]:
    """Return the iterator of a stream, as the function aiter of Python 3.10 does."""
    iterator: AsyncIterator[bytes] = stream.__aiter__()
    return iterator
