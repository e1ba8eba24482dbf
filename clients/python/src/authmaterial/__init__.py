"""Client for the broker: adds its material to the requests of httpx, requests and aiohttp.

Create one :class:`Client` for a process, and use its methods `httpx_auth`, `httpx_transport`,
`requests_adapter` and `aiohttp_middleware`.
"""

from authmaterial._client import Client
from authmaterial._errors import Error, Reason

# Tracebacks name the classes as programs do.
for _class in (Client, Error, Reason):
    _class.__module__ = __name__

__all__ = ["Client", "Error", "Reason"]
