"""Streams that keep the copies of credentials fresh."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING, Any

import grpc

from authmaterial._connection import error_of_state
from authmaterial._errors import Error

if TYPE_CHECKING:
    from authmaterial._core import Core
    from authmaterial._credential import Credential

MAX_CREDENTIALS = 100

_MIN_DELAY = 0.2
_MAX_DELAY = 30.0


class Watch:
    """Some credentials that are watched by one stream.

    When the credentials change, a new stream is opened, and the old one is closed once the new one
    has delivered the state of each credential. Each stream has a thread, and only the newest one
    is opened again when it ends. The lock of the core guards all fields.
    """

    def __init__(self, core: Core) -> None:
        self.credentials: list[Credential] = []
        self.threads: dict[int, threading.Thread] = {}
        self._core = core
        self._newest = 0
        self._calls: dict[int, Any] = {}

    def open(self, credentials: list[Credential]) -> None:
        """Watch other credentials than before, at most 100."""
        self.credentials = credentials
        self._newest += 1
        thread = threading.Thread(
            target=self._run, args=(self._newest,), name="authmaterial watch", daemon=True
        )
        self.threads[self._newest] = thread
        thread.start()

    def close(self) -> None:
        """End all streams."""
        self.credentials = []
        self._newest += 1
        self._cancel_older(self._newest)

    def _cancel_older(self, number: int) -> None:
        for older in [older for older in self._calls if older < number]:
            self._calls.pop(older).cancel()

    def _run(self, number: int) -> None:
        core = self._core
        with core.lock:
            credentials = {credential.id: credential for credential in self.credentials}
        delay = _MIN_DELAY
        while self._newest == number:
            delivered: set[str] = set()
            # After an error the next attempt follows. A request that needs an answer makes a call.
            with contextlib.suppress(grpc.RpcError, Error, ValueError):
                self._receive(number, credentials, delivered)
            with core.lock:
                self._calls.pop(number, None)
                for credential_id in delivered:
                    credentials[credential_id].streams -= 1
            if delivered:
                delay = _MIN_DELAY
            if core.stopping.wait(delay * random.uniform(0.8, 1.2)):
                break
            if not delivered:
                delay = min(2 * delay, _MAX_DELAY)
        with core.lock:
            del self.threads[number]

    def _receive(
        self, number: int, credentials: dict[str, Credential], delivered: set[str]
    ) -> None:
        call = self._core.connection.watch(list(credentials))
        with self._core.lock:
            if self._newest != number:
                call.cancel()
            self._calls[number] = call
        for state in call:
            credential = credentials[state.credential_id]
            if state.HasField("auth_decoration"):
                credential.deliver(state.auth_decoration)
            else:
                credential.fail(error_of_state(state.error, credential.id))
            if state.credential_id in delivered:
                continue
            with self._core.lock:
                delivered.add(state.credential_id)
                credential.streams += 1
                if len(delivered) == len(credentials):
                    self._cancel_older(number)
