"""The body of a response of requests whose beginning has been read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Optional

from authmaterial._rejection import MAX_BODY

_CHUNK = 8 << 10


class PeekedBody(io.IOBase):
    """The raw response of urllib3, whose body is read from its beginning again.

    The body has no content encoding. ``start`` is the whole body, or empty if the body has more
    than MAX_BODY bytes or cannot be read.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._rest = raw.stream(_CHUNK)
        self._error: Optional[Exception] = None
        self._data: Optional[bytes] = None
        self._is_closed = False
        self._is_used = False  # the program has read something, perhaps only the end
        self._told = 0
        read = bytearray()
        try:
            while len(read) <= MAX_BODY:
                chunk = next(self._rest, None)
                if chunk is None:
                    break
                read += chunk
        except Exception as error:
            self._error = error
        self._read = read
        self.start = bytes(read) if self._error is None and len(read) <= MAX_BODY else b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    @property
    def closed(self) -> bool:
        # Programs set auto_close to False to read the body with io.TextIOWrapper.
        return self._is_closed or bool(self.auto_close and self.isclosed())

    def isclosed(self) -> bool:
        """Return whether the program has closed the body or read it to its end."""
        at_end = self._is_used and not self._read and self._raw.closed
        return self._is_closed or bool(at_end)

    def close(self) -> None:
        self._is_closed = True
        self._read.clear()
        self._raw.close()

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._told

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def __iter__(self) -> Iterator[bytes]:
        line = bytearray()
        for chunk in self.stream():
            for part in io.BytesIO(chunk):
                line += part
                if part.endswith(b"\n"):
                    yield bytes(line)
                    line.clear()
        if line:
            yield bytes(line)

    @property
    def data(self) -> bytes:
        if self._data is None:
            self._data = self.read()
        return self._data

    def read(self, amt: Optional[int] = None, *_: Any, **__: Any) -> bytes:
        if amt is not None and amt < 0:
            amt = None
        while (amt is None or len(self._read) < amt) and not (self._read and self._error):
            chunk = self._next()
            if chunk is None:
                break
            self._read += chunk
        return self._take(amt)

    def read1(self, amt: Optional[int] = None, *_: Any, **__: Any) -> bytes:
        if not self._read:
            self._read += self._next() or b""
        return self._take(None if amt is None or amt < 0 else amt)

    def readinto(self, buffer: bytearray) -> int:
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def stream(self, amt: Optional[int] = 1 << 16, *_: Any, **__: Any) -> Iterator[bytes]:
        # Chunks are passed on as they arrive; other bodies in pieces of the size that is asked for.
        read = self.read1 if getattr(self._raw, "chunked", False) else self.read
        while chunk := read(amt):
            yield chunk

    read_chunked = stream

    def _take(self, size: Optional[int]) -> bytes:
        result = bytes(self._read[:size])
        del self._read[:size]
        self._is_used = True
        self._told += len(result)
        return result

    def _next(self) -> Optional[bytes]:
        if self._error is not None:
            raise self._error
        return next(self._rest, None)
