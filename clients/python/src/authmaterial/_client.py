"""The client that programs create."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Optional, Union

from authmaterial._address import Address
from authmaterial._core import Core

if TYPE_CHECKING:
    import httpx
    import requests.adapters

    import authmaterial._aiohttp
    import authmaterial._httpx
    import authmaterial._requests

_Path = Union[str, "os.PathLike[str]", None]


class Client:
    """A client of the broker, for all threads and event loops of a process.

    The client opens its connection with the first request, and keeps the material of each
    credential that requests use. It may be used as a context manager, which closes it.

    :param address: the broker's address as gRPC writes it, such as ``dns:///broker:50051`` or
        ``unix:/run/authmaterial.sock``.
    :param ca_file: a PEM file with the authorities to trust. By default, gRPC's own list is used.
    :param certificate_file: a PEM file with the client certificate and its intermediates.
    :param key_file: a PEM file with the key of the client certificate.
    :param server_name: a name in the broker's certificate, if it is not the host of the address.
    :param token_file: a file with a token, which shows the broker who the client is. All files are
        read again when they change.
    :param plaintext: do not use TLS. A connection to a Unix socket never uses TLS.
    """

    def __init__(
        self,
        address: str,
        *,
        ca_file: _Path = None,
        certificate_file: _Path = None,
        key_file: _Path = None,
        server_name: Optional[str] = None,
        token_file: _Path = None,
        plaintext: bool = False,
    ) -> None:
        self._address = address
        self._core = Core(
            Address(
                target=address,
                plaintext=plaintext,
                ca_file=_path(ca_file),
                certificate_file=_path(certificate_file),
                key_file=_path(key_file),
                server_name=server_name,
                token_file=_path(token_file),
            ),
            time.time,
        )

    def __repr__(self) -> str:
        return f"<authmaterial.Client of {self._address!r}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all streams and calls. Requests after that fail.

        The client first reports which versions were used, and waits up to 2 s for the broker.
        """
        self._core.close()

    def httpx_auth(self, credential_id: str) -> authmaterial._httpx.Auth:
        """Return an ``httpx.Auth`` for ``httpx.Client``, ``httpx.AsyncClient`` or one request.

        Use :meth:`httpx_transport` if the client has a transport of its own that does not send
        requests with ``httpx.HTTPTransport`` or ``httpx.AsyncHTTPTransport``.
        """
        from authmaterial._httpx import Auth

        return Auth(self._core.credential(credential_id))

    def httpx_transport(
        self, credential_id: str, transport: Optional[httpx.BaseTransport] = None
    ) -> authmaterial._httpx.Transport:
        """Return a transport for ``httpx.Client``.

        :param transport: sends the requests. The default is a new ``httpx.HTTPTransport``.
        """
        from authmaterial._httpx import Transport

        return Transport(self._core.credential(credential_id), transport)

    def httpx_async_transport(
        self, credential_id: str, transport: Optional[httpx.AsyncBaseTransport] = None
    ) -> authmaterial._httpx.AsyncTransport:
        """Return a transport for ``httpx.AsyncClient``.

        :param transport: sends the requests. The default is a new ``httpx.AsyncHTTPTransport``.
        """
        from authmaterial._httpx import AsyncTransport

        return AsyncTransport(self._core.credential(credential_id), transport)

    def requests_adapter(
        self, credential_id: str, adapter: Optional[requests.adapters.BaseAdapter] = None
    ) -> authmaterial._requests.Adapter:
        """Return an adapter to mount in a ``requests.Session``.

        :param adapter: sends the requests. The default is a new ``requests.adapters.HTTPAdapter``.
        """
        from authmaterial._requests import Adapter

        return Adapter(self._core.credential(credential_id), adapter)

    def aiohttp_middleware(self, credential_id: str) -> authmaterial._aiohttp.Middleware:
        """Return a middleware for ``aiohttp.ClientSession``, or for one request."""
        from authmaterial._aiohttp import Middleware

        return Middleware(self._core.credential(credential_id))


def _path(name: _Path) -> Optional[str]:
    return None if name is None else os.fspath(name)
