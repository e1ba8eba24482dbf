"""The adapter for requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Optional, Union
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3.util

from authmaterial._credential import Credential
from authmaterial._decoration import Decoration
from authmaterial._peeked import PeekedBody
from authmaterial._rejection import is_readable, matches

# The body of a rejected response is read if it has at most this size, so that the connection can
# be used again.
_MAX_DRAIN = 4 << 10


class Adapter(requests.adapters.BaseAdapter):
    """Adds the material of a credential to a copy of each request, redirects included."""

    def __init__(
        self, credential: Credential, adapter: Optional[requests.adapters.BaseAdapter] = None
    ) -> None:
        super().__init__()
        self._credential = credential
        self._adapter = adapter or requests.adapters.HTTPAdapter()
        self._last = threading.local()

    def __repr__(self) -> str:
        return f"<authmaterial requests adapter for {self._credential.id!r}>"

    def close(self) -> None:
        self._adapter.close()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Union[float, tuple[float, float], tuple[float, None], None] = None,
        verify: Union[bool, str] = True,
        cert: Union[bytes, str, tuple[Union[bytes, str], Union[bytes, str]], None] = None,
        proxies: Optional[Mapping[str, str]] = None,
    ) -> requests.Response:
        def send(decoration: Decoration) -> requests.Response:
            decorated = _decorate(request, decoration)
            self._credential.sent(decoration)
            try:
                response = self._adapter.send(decorated, stream, timeout, verify, cert, proxies)
            except requests.RequestException as error:
                error.request = request
                decoration.clean_error(error)
                raise
            _clean(response, request, decoration)
            return response

        decoration = self._credential.get()
        refusal = _refusal(request, decoration)
        if refusal is None:
            response = send(decoration)
            if _is_rejection(response, decoration, stream):
                successor = self._credential.replace(decoration, response.status_code)
                if successor and not _refusal(request, successor) and _rewind(request):
                    _drain(response)
                    response = send(successor)
        else:
            if not self._follows_redirect(request):
                self._credential.check(refusal)
            response = self._adapter.send(request, stream, timeout, verify, cert, proxies)
        self._last.hooks = request.hooks if response.is_redirect else None
        return response

    def _follows_redirect(self, request: requests.PreparedRequest) -> bool:
        # A session copies a request for a redirect, and both have the same object with hooks.
        return getattr(self._last, "hooks", None) is request.hooks


def _decorate(
    request: requests.PreparedRequest, decoration: Decoration
) -> requests.PreparedRequest:
    decorated = request.copy()
    for name, value in decoration.headers_for(decorated.headers):
        decorated.headers[name] = value
    url, hash_, fragment = (request.url or "").partition("#")
    decorated.url = decoration.add_to_target(url) + hash_ + fragment
    return decorated


def _refusal(request: requests.PreparedRequest, decoration: Decoration) -> Optional[str]:
    # requests and urllib3 parse a URL in two ways, and must find the same host.
    try:
        url = urlsplit(request.url or "")
        host, port = url.hostname or "", url.port
        other = urllib3.util.parse_url(request.url or "")
    except ValueError:
        return "the URL cannot be parsed"
    if (other.host or "").strip("[]").lower() != host or other.port != port:
        return "the URL has no clear host"
    return decoration.refusal(url.scheme, host, port, _text(request.headers.get("Host")))


def _is_rejection(response: requests.Response, decoration: Decoration, stream: bool) -> bool:
    rejected, conditions = decoration.rejection.decide(response.status_code, response.headers.get)
    if not conditions or not is_readable(response.headers.get):
        return rejected
    if not stream:
        return matches(response.content, conditions)
    if response.headers.get("Content-Encoding"):
        return False  # the program may read the body as it is, or decoded
    response.raw = PeekedBody(response.raw)
    return matches(response.raw.start, conditions)


def _text(value: Any) -> Optional[str]:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _rewind(request: requests.PreparedRequest) -> bool:
    """Prepare the body for being sent again, and return whether this is possible."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    try:
        requests.utils.rewind_body(request)
    except requests.exceptions.UnrewindableBodyError:
        return False
    return True


def _drain(response: requests.Response) -> None:
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) <= _MAX_DRAIN:
        _ = response.content
    response.close()


def _clean(
    response: requests.Response, request: requests.PreparedRequest, decoration: Decoration
) -> None:
    response.request = request
    response.url = request.url or ""
    _clean_raw(response.raw, request.path_url)
    location = response.headers.get("Location")
    if location is None:
        return
    cleaned = decoration.clean_location(location, request.url or "")
    for headers in (response.headers, getattr(response.raw, "headers", {})):
        headers.pop("Location", None)
        if cleaned is not None:
            headers["Location"] = cleaned


def _clean_raw(raw: Any, target: str) -> None:
    """Replace the target of a request in the response of urllib3."""
    if getattr(raw, "_request_url", None) is not None:
        raw._request_url = target
    retries = getattr(raw, "retries", None)
    if retries is not None:
        retries.history = tuple(attempt._replace(url=target) for attempt in retries.history)
