"""The body of a response of requests whose beginning has been read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from authmaterial._rejection import MAX_BODY

_CHUNK = 8 << 10


class PeekedBody:
    """The raw response of urllib3, whose body is read from its beginning again.

    The body has no content encoding. ``start`` is the whole body, or empty if the body has more
    than MAX_BODY bytes or cannot be read.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._rest = raw.stream(_CHUNK)
        self._error: Optional[Exception] = None
        read = b""
        try:
            while len(read) <= MAX_BODY:
                chunk = next(self._rest, None)
                if chunk is None:
                    break
                read += chunk
        except Exception as error:
            self._error = error
        self._read = read
        self.start = read if self._error is None and len(read) <= MAX_BODY else b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def read(self, amt: Optional[int] = None, *_: Any, **__: Any) -> bytes:
        while (amt is None or len(self._read) < amt) and not (self._read and self._error):
            chunk = self._next()
            if chunk is None:
                break
            self._read += chunk
        size = len(self._read) if amt is None else amt
        result, self._read = self._read[:size], self._read[size:]
        return result

    def stream(self, amt: Optional[int] = 1 << 16, *_: Any, **__: Any) -> Iterator[bytes]:
        while True:
            chunk = self.read(amt)
            if not chunk:
                return
            yield chunk

    def __iter__(self) -> Iterator[bytes]:
        return self.stream()

    def _next(self) -> Optional[bytes]:
        if self._error is not None:
            raise self._error
        return next(self._rest, None)
