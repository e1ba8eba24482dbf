"""What a client knows about one credential."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from authmaterial._decoration import Decoration
from authmaterial._errors import Error, Reason
from authmaterial.v1 import broker_service_pb2 as pb
from authmaterial.v1.auth_decoration_pb2 import AuthDecoration

if TYPE_CHECKING:
    from authmaterial._core import Core

_GET_TIMEOUT = 20.0
_REPORT_TIMEOUT = 45.0

# The seconds for which an error is remembered, and for which a version is not reported again.
_MIN_MEMORY = 1.0
_MAX_MEMORY = 30.0
_NOT_REPLACEABLE_MEMORY = 60.0

# The seconds for which a version is ignored that was rejected and has a successor, because a
# replica of the broker may not know the successor yet.
_REPLACED_MEMORY = 60.0

# The number of versions of a credential that are remembered as replaced, or as not to be reported.
_MAX_VERSIONS = 16

_REMOVING = {Reason.CREDENTIAL_NOT_FOUND, Reason.ACCESS_DENIED, Reason.CREDENTIAL_REJECTED}

_Value = TypeVar("_Value")

_Outcome = pb.ReportRejectionResponse.Outcome


class Credential:
    """The copy of one credential's decoration, and the calls that renew it.

    The lock of the core guards all fields. The methods that a request calls while its copy can be
    used read single fields without the lock.
    """

    def __init__(self, core: Core, credential_id: str) -> None:
        self.id = credential_id
        self.last_request = 0.0
        self.is_watched = False
        self.streams = 0  # the number of streams that have delivered its state, and work
        self._core = core
        self._copy: Optional[Decoration] = None
        self._error: Optional[Error] = None
        self._error_until = 0.0
        self._call: Optional[Future[Decoration]] = None
        self._reports: dict[str, Future[Optional[Decoration]]] = {}
        self._not_reported_until: dict[str, float] = {}
        self._replaced_until: dict[str, float] = {}

    def get(self) -> Decoration:
        """Return the decoration for a request."""
        result = self.current() or self.fetch()
        return _wait(result) if isinstance(result, Future) else result

    async def get_async(self) -> Decoration:
        """Return the decoration for a request of an event loop."""
        result = self.current() or self.fetch()
        return await _wait_async(result) if isinstance(result, Future) else result

    def replace(self, sent: Decoration, status: int) -> Optional[Decoration]:
        """Return the decoration with which a rejected request is repeated, or None."""
        result = self.replacement(sent, status)
        return _wait(result) if isinstance(result, Future) else result

    async def replace_async(self, sent: Decoration, status: int) -> Optional[Decoration]:
        """Return the decoration with which a rejected request of an event loop is repeated."""
        result = self.replacement(sent, status)
        return await _wait_async(result) if isinstance(result, Future) else result

    def current(self) -> Optional[Decoration]:
        """Return the copy for a request, or None if there is none that can be used."""
        core = self._core
        core.check_open(self.id)
        now = core.clock()
        self.last_request = now
        if now >= core.usage_time or not self.is_watched:
            core.attend(self)
        copy = self._copy
        if copy is None or now >= copy.expire_time:
            return None
        if now >= copy.refresh_time and not self.streams:
            self._refresh(now)
        return copy

    def check(self, refusal: Optional[str]) -> None:
        """Raise an error if the material must not be sent to the host of a request."""
        if refusal is not None:
            raise Error(refusal, reason=Reason.HOST_NOT_ALLOWED, credential_id=self.id)

    def sent(self, decoration: Decoration) -> None:
        """Note that a decoration is sent to a provider."""
        self._core.uses.add(decoration.use)

    def fetch(self) -> Union[Decoration, Future[Decoration]]:
        """Ask the broker, and return the result of the call that all requests share.

        Raises the error of an earlier call while it is remembered. If the call has ended in the
        meantime, the copy is returned.
        """
        with self._core.lock:
            self._core.check_open(self.id)
            now = self._core.clock()
            if self._copy is not None and now < self._copy.expire_time:
                return self._copy
            error = self._remembered_error(now)
            if error is not None:
                raise error.copy()
            return self._shared_call()

    def replacement(
        self, sent: Decoration, status: int
    ) -> Union[Decoration, Future[Optional[Decoration]], None]:
        """Return the decoration with which a rejected request is repeated, or None.

        Reports the version that was sent, unless the copy has already been replaced.
        """
        with self._core.lock:
            now = self._core.clock()
            copy = self._copy
            if copy is not None and copy.version != sent.version and now < copy.expire_time:
                return copy
            if self._core.is_closed or now < self._not_reported_until.get(sent.version, 0.0):
                return None
            report = self._reports.get(sent.version)
            if report is None:
                report = self._reports[sent.version] = Future()
                self._start(report, self._report, sent, status)
            return report

    def store(self, message: AuthDecoration) -> Decoration:
        """Replace the copy, unless its version is ignored, and return the decoration to use."""
        decoration = Decoration(message)
        with self._core.lock:
            now = self._core.clock()
            until = self._replaced_until.get(decoration.version, 0.0)
            if not 0 < until - now <= _REPLACED_MEMORY:
                self._copy, self._error = decoration, None
            elif self._copy is not None and now < self._copy.expire_time:
                return self._copy
        return decoration

    def deliver(self, message: AuthDecoration) -> None:
        """Store a decoration from a stream, and let the requests continue that wait for a call."""
        with self._core.lock:
            before = self._copy
            decoration = self.store(message)
            if self._copy is not before and self._call is not None and not self._call.done():
                self._call.set_result(decoration)

    def fail(self, error: Error) -> None:
        """Remember an error."""
        with self._core.lock:
            if error.reason in _REMOVING:
                self._copy = None
            delay = min(max(error.retry_delay or 0.0, _MIN_MEMORY), _MAX_MEMORY)
            self._error, self._error_until = error, self._core.clock() + delay

    def forget_calls(self) -> None:
        """Forget the calls of the parent, in a process that `fork` has made."""
        self.is_watched, self.streams = False, 0
        self._call = None
        self._reports.clear()

    def _remembered_error(self, now: float) -> Optional[Error]:
        # If the clock is set back, an error is forgotten after at most 30 s, too.
        if 0 < self._error_until - now <= _MAX_MEMORY:
            return self._error
        return None

    def _refresh(self, now: float) -> None:
        with self._core.lock:
            if not self._core.is_closed and self._remembered_error(now) is None:
                self._shared_call()

    def _shared_call(self) -> Future[Decoration]:
        if self._call is None:
            call = self._call = Future()
            self._start(call, self._get, call)
            call.add_done_callback(self._forget_call)
            return call
        return self._call

    def _forget_call(self, call: Future[Decoration]) -> None:
        if self._call is call:
            self._call = None

    def _start(self, future: Future[_Value], run: Callable[..., _Value], *arguments: Any) -> None:
        """Run a function in a thread. Nobody can cancel it, because requests share its result."""
        future.set_running_or_notify_cancel()

        def complete() -> None:
            try:
                result = run(*arguments)
            except BaseException as error:
                with self._core.lock:
                    if not future.done():
                        future.set_exception(error)
            else:
                with self._core.lock:
                    if not future.done():
                        future.set_result(result)

        threading.Thread(target=complete, name=f"authmaterial {self.id}", daemon=True).start()

    def _get(self, call: Future[Decoration]) -> Decoration:
        request = pb.GetAuthDecorationRequest(credential_id=self.id)
        try:
            response = self._core.connection.call(
                "GetAuthDecoration", request, pb.GetAuthDecorationResponse, _GET_TIMEOUT
            )
            with self._core.lock:
                if call.done():  # a stream has delivered a decoration during the call
                    return call.result()
                return self.store(response.auth_decoration)
        except Error as error:
            with self._core.lock:
                if not call.done():
                    self.fail(error)
            raise

    def _report(self, sent: Decoration, status: int) -> Optional[Decoration]:
        request = pb.ReportRejectionRequest(
            credential_id=self.id, version=sent.version, http_status=status
        )
        wait = _MIN_MEMORY
        try:
            response = self._core.connection.call(
                "ReportRejection", request, pb.ReportRejectionResponse, _REPORT_TIMEOUT
            )
            if response.outcome in (_Outcome.OUTCOME_REPLACED, _Outcome.OUTCOME_ALREADY_REPLACED):
                wait = 0.0
                return self._succeed(sent, response.auth_decoration)
            wait = _NOT_REPLACEABLE_MEMORY
            self.store(response.auth_decoration)
        except Error as error:
            wait = max(error.retry_delay or 0.0, _MIN_MEMORY)
        finally:
            with self._core.lock:
                del self._reports[sent.version]
                if wait:
                    _remember(self._not_reported_until, sent.version, self._core.clock() + wait)
        return None

    def _succeed(self, sent: Decoration, message: AuthDecoration) -> Decoration:
        with self._core.lock:
            if message.version != sent.version:
                until = self._core.clock() + _REPLACED_MEMORY
                _remember(self._replaced_until, sent.version, until)
            self._replaced_until.pop(message.version, None)  # it is current again
        return self.store(message)


def _wait(future: Future[_Value]) -> _Value:
    try:
        return future.result()
    except Error as error:
        raise error.copy() from None


async def _wait_async(future: Future[_Value]) -> _Value:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # the program runs trio
        import anyio.to_thread

        return await anyio.to_thread.run_sync(_wait, future, abandon_on_cancel=True)
    try:
        return await asyncio.wrap_future(future)
    except Error as error:
        raise error.copy() from None


def _remember(versions: dict[str, _Value], version: str, value: _Value) -> None:
    """Add a version, and forget the oldest one if there are too many."""
    versions.pop(version, None)
    versions[version] = value
    if len(versions) > _MAX_VERSIONS:
        del versions[next(iter(versions))]
