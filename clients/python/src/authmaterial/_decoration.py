"""Decorations, and the rules for putting them on a request."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Container, Sequence
from typing import Optional
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from authmaterial._rejection import Rejection
from authmaterial.v1.auth_decoration_pb2 import AuthDecoration

_DEFAULT_PORTS = {"https": 443, "http": 80}

# A Location header may contain a shorter text by chance.
_MIN_SECRET = 4

# A URL inside a query parameter of another URL is encoded twice.
_MAX_DECODE = 3


class Decoration:
    """The material for the requests with one credential. It is immutable."""

    __slots__ = (
        "_allowed",
        "_if_absent",
        "_names",
        "expire_time",
        "headers",
        "query",
        "refresh_time",
        "rejection",
        "use",
        "version",
    )

    def __init__(self, message: AuthDecoration) -> None:
        self.version = message.version
        self.headers = tuple((header.name, header.value) for header in message.headers)
        self._if_absent = frozenset(
            header.name.lower() for header in message.headers if header.only_if_absent
        )
        self._names = frozenset(name.lower() for name, _ in self.headers) - self._if_absent
        self.query = tuple((param.name, param.value) for param in message.query_params)
        self.expire_time = math.inf
        if message.HasField("expire_time"):
            self.expire_time = message.expire_time.seconds + message.expire_time.nanos / 1e9
        self.refresh_time = message.refresh_time.seconds + message.refresh_time.nanos / 1e9
        self.rejection = Rejection(message)
        self.use = (message.credential_id, message.version)
        self._allowed = frozenset(_host_and_port(entry) for entry in message.allowed_hosts)

    def __repr__(self) -> str:
        credential_id, version = self.use
        return f"<Decoration of {credential_id!r}, version {version!r}>"

    def __reduce__(self) -> str:
        raise TypeError("a decoration contains secrets and cannot be pickled")

    def refusal(
        self, scheme: str, host: str, port: Optional[int], host_header: Optional[str]
    ) -> Optional[str]:
        """Return why the material must not be sent to a URL, or None if it may be sent.

        An IPv6 address has no brackets. The port is None if the URL has none.
        """
        host = host.lower()
        if scheme != "https" and not (scheme == "http" and _is_loopback(host)):
            return f"the URL of {host} is not https"
        default = _DEFAULT_PORTS[scheme]
        if port is None:
            port = default
        if (host, port) not in self._allowed:
            allowed = ", ".join(sorted(f"{host}:{port}" for host, port in self._allowed))
            return f"{host} port {port} is not among the allowed hosts {allowed}"
        if host_header is not None:
            bracketed = f"[{host}]" if ":" in host else host
            names = {f"{bracketed}:{port}"} | ({bracketed} if port == default else set())
            if host_header.lower() not in names:
                return "the Host header differs from the host of the URL"
        return None

    def add_to_query(self, query: str) -> str:
        """Return an encoded query with the parameters of the decoration."""
        if not self.query:
            return query
        names = {name for name, _ in self.query}
        pairs = [pair for pair in query.split("&") if pair and _name(pair) not in names]
        pairs += [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query]
        return "&".join(pairs)

    def add_to_target(self, target: str) -> str:
        """Return a request target (path and query) with the parameters of the decoration."""
        if not self.query:
            return target
        path, _, query = target.partition("?")
        return f"{path}?{self.add_to_query(query)}"

    def add_to_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return headers with those of the decoration."""
        kept = [pair for pair in headers if pair[0].decode("latin-1").lower() not in self._names]
        present = {name.decode("latin-1").lower() for name, _ in kept}
        added = [
            (name.encode(), value.encode())
            for name, value in self.headers
            if name.lower() not in present
        ]
        return kept + added

    def headers_for(self, present: Container[str]) -> list[tuple[str, str]]:
        """Return the headers to set on a request.

        ``present`` contains the names of the request's headers, without regard to case.
        """
        return [
            (name, value)
            for name, value in self.headers
            if name.lower() not in self._if_absent or name not in present
        ]

    def clean_location(self, location: str, asked: str) -> Optional[str]:
        """Return the value of a Location header without material, or None to remove the header.

        ``asked`` is the URL of the program's request: what it contains is not secret.
        """
        try:
            parts = urlsplit(location)
        except ValueError:
            return None
        if self.query and parts.query:
            secret = set(self.query)
            pairs = parts.query.split("&")
            kept = [pair for pair in pairs if not secret.intersection(_parameters(pair))]
            if len(kept) != len(pairs):
                location = parts._replace(query="&".join(kept)).geturl()
        texts, known = _decoded(location), "\n".join(_decoded(asked))
        for secret_text in self._secrets():
            if secret_text not in known and any(secret_text in text for text in texts):
                return None
        return location

    def clean_error(self, error: BaseException) -> None:
        """Remove the material from the texts of an exception and of those that caused it."""
        texts = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query]
        errors: list[Optional[BaseException]] = [error]
        seen: set[int] = set()
        while texts and errors:
            one = errors.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            for text in texts:
                _remove_from_error(one, text)
            errors += [one.__cause__, one.__context__]
            errors += [value for value in one.args if isinstance(value, BaseException)]

    def _secrets(self) -> list[str]:
        values = [value for _, value in self.query]
        for _, value in self.headers:
            token = value.partition(" ")[2]
            values.append(token if len(token) >= _MIN_SECRET else value)
        return [value.replace("+", " ") for value in values if len(value) >= _MIN_SECRET]


def _host_and_port(entry: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^]]*\]|[^:]*):([0-9]+)", entry)
    host, port = match.groups() if match else (entry, "443")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


def _parameters(pair: str) -> set[tuple[str, str]]:
    value = pair.partition("=")[2]
    return {(_name(pair), unquote_plus(value)), (_name(pair), unquote(value))}


def _decoded(text: str) -> list[str]:
    texts = [text]
    for _ in range(_MAX_DECODE):
        texts.append(unquote(texts[-1], errors="replace"))
    return [text.replace("+", " ") for text in texts]


def _remove_from_error(error: BaseException, text: str) -> None:
    error.args = tuple(
        value.replace(text, "…") if isinstance(value, str) else value for value in error.args
    )
    for name, value in vars(error).items():
        if isinstance(value, str) and text in value:
            setattr(error, name, value.replace(text, "…"))
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        error.strerror = error.strerror.replace(text, "…")
