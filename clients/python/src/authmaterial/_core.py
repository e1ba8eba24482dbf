"""The state of a client, and what it does in the background."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Optional

from authmaterial._address import Address
from authmaterial._connection import Connection, UnimplementedError
from authmaterial._credential import Credential
from authmaterial._errors import Error, Reason
from authmaterial._watch import MAX_CREDENTIALS, Watch
from authmaterial.v1 import broker_service_pb2 as pb

_MAX_ID = 128  # the broker cuts a longer ID in the states of a stream

# All times are in seconds.
_JOIN_TIME = 0.1  # several new credentials join one stream
_IDLE_TIME = 3600.0  # a credential without requests is not watched any more
_USAGE_TIME = 60.0
_USAGE_TIMEOUT = 20.0
_LAST_USAGE_TIMEOUT = 2.0
_MAX_USES = 100

# When all calls have ended, gRPC's own threads need a moment to leave code that cannot be forked.
_FORK_PAUSE = 0.1


class Core:
    """The credentials of a client, and a thread that opens streams and reports usage.

    One lock guards the state of all credentials and streams.
    """

    def __init__(self, address: Address, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.connection = Connection(address)
        self.is_closed = False
        self.usage_time = 0.0
        self.uses: set[tuple[str, str]] = set()
        self._credentials: dict[str, Credential] = {}
        self._reports_usage = True
        self._reset()
        with _fork_lock:
            _cores.add(self)

    def _reset(self) -> None:
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self._changed = threading.Condition(self.lock)
        self._new: list[Credential] = []
        self._watches: list[Watch] = []
        self._is_reporting = False
        self._thread: Optional[threading.Thread] = None

    def credential(self, credential_id: str) -> Credential:
        """Return the state of a credential."""
        with self.lock:
            credential = self._credentials.get(credential_id)
            if credential is None:
                credential = self._credentials[credential_id] = Credential(self, credential_id)
            return credential

    def check_open(self, credential_id: str) -> None:
        """Raise an error if the client is closed."""
        if self.is_closed:
            raise Error(
                "the client is closed",
                reason=Reason.BROKER_UNREACHABLE,
                credential_id=credential_id,
            )

    def attend(self, credential: Credential) -> None:
        """Watch a credential that requests use, and report usage if it is time."""
        with self.lock:
            if self.is_closed:
                return
            if not credential.is_watched:
                credential.is_watched = True
                self._new.append(credential)
            if self._thread is None:
                self.usage_time = self.clock() + _USAGE_TIME
                self._thread = threading.Thread(target=self._run, name="authmaterial", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Report the last uses, and end all streams and calls."""
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
            self.stopping.set()
            for watch in self._watches:
                watch.close()
            self._changed.notify()
        if self._reports_usage:
            self._report_usage(self._take_uses(), _LAST_USAGE_TIMEOUT)
        self.connection.stop()

    def _run(self) -> None:
        with self.lock:
            while not self.is_closed:
                now = self.clock()
                left = self.usage_time - now
                if not 0 < left <= _USAGE_TIME:
                    self.usage_time = now + _USAGE_TIME
                    self._start_usage_report()
                    self._unwatch_idle(now)
                elif self._new:
                    self._open_streams()
                else:
                    self._changed.wait(left)

    def _open_streams(self) -> None:
        end = time.monotonic() + _JOIN_TIME
        while (left := end - time.monotonic()) > 0:
            self._changed.wait(left)
        if self.is_closed:
            return
        new, self._new = [new for new in self._new if len(new.id) <= _MAX_ID], []
        for watch in self._watches:
            room = MAX_CREDENTIALS - len(watch.credentials)
            if new and room:
                watch.open(watch.credentials + new[:room])
                new = new[room:]
        while new:
            watch = Watch(self)
            self._watches.append(watch)
            watch.open(new[:MAX_CREDENTIALS])
            new = new[MAX_CREDENTIALS:]

    def _unwatch_idle(self, now: float) -> None:
        for watch in list(self._watches):
            used = [
                credential
                for credential in watch.credentials
                if now - credential.last_request < _IDLE_TIME
            ]
            if len(used) == len(watch.credentials):
                continue
            for credential in set(watch.credentials) - set(used):
                credential.is_watched = False
            if used:
                watch.open(used)
            else:
                watch.close()
                self._watches.remove(watch)

    def _take_uses(self) -> list[tuple[str, str]]:
        uses, self.uses = self.uses, set()
        return sorted(uses)

    def _start_usage_report(self) -> None:
        if self._is_reporting or not self._reports_usage:
            return
        uses = self._take_uses()
        if uses:
            self._is_reporting = True
            threading.Thread(
                target=self._report_usage,
                args=(uses, _USAGE_TIMEOUT),
                name="authmaterial usage",
                daemon=True,
            ).start()

    def _report_usage(self, uses: list[tuple[str, str]], timeout: float) -> None:
        try:
            self._call_report_usage(uses, timeout)
        except UnimplementedError:
            self._reports_usage = False
        finally:
            self._is_reporting = False

    def _call_report_usage(self, uses: list[tuple[str, str]], timeout: float) -> None:
        for start in range(0, len(uses), _MAX_USES):
            part = uses[start : start + _MAX_USES]
            request = pb.ReportUsageRequest(
                uses=[pb.VersionUse(credential_id=id_, version=version) for id_, version in part]
            )
            try:
                self.connection.call("ReportUsage", request, pb.ReportUsageResponse, timeout)
            except UnimplementedError:
                raise
            except Error:
                self.uses.update(uses[start:])  # they are reported again
                return

    def before_fork(self) -> bool:
        """End all calls and hold the locks. Return whether there was a connection."""
        with self.lock:
            self.stopping.set()
            threads = [thread for watch in self._watches for thread in watch.threads.values()]
            for watch in self._watches:
                watch.close()
        was_open = self.connection.hold()
        for thread in threads:
            thread.join(1)
        self.lock.acquire()
        return was_open

    def after_fork_in_parent(self) -> None:
        """Watch the same credentials as before."""
        self.connection.release()
        if not self.is_closed:
            for watch in self._watches:
                watch.close()
            self.stopping = threading.Event()
            self._watches = []
            self._new = [c for c in self._credentials.values() if c.is_watched]
            self._changed.notify()
        self.lock.release()

    def after_fork_in_child(self) -> None:
        """Keep the copies, and forget what the parent does in the background."""
        self.connection.reset()
        self.uses = set()
        self._reset()
        for credential in self._credentials.values():
            credential.forget_calls()


_cores: weakref.WeakSet[Core] = weakref.WeakSet()
_held: list[Core] = []
_fork_lock = threading.Lock()  # guards both, from before a fork until after it


def _before_fork() -> None:
    _fork_lock.acquire()
    _held[:] = list(_cores)
    if True in [core.before_fork() for core in _held]:
        time.sleep(_FORK_PAUSE)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().after_fork_in_parent()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    while _held:
        _held.pop().after_fork_in_child()
    _fork_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
