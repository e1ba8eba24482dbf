"""Calls to the broker over gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from authmaterial._address import Address
from authmaterial._errors import Error, Reason
from authmaterial.v1 import broker_service_pb2 as pb
from authmaterial.v1.error_reason_pb2 import ErrorReason

_SERVICE = "/authmaterial.v1.BrokerService/"

# A call that fails with UNAVAILABLE is made again within this time, in seconds.
_RETRY_TIME = 5.0

_MAX_TOKEN_FILE = 64 << 10
_MAX_CERTIFICATE_FILE = 1 << 20

_TOKEN_CHARACTERS = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
)

_OPTIONS = [
    # A broker that vanished without closing the connection is noticed after 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # The client has its own delays between attempts; gRPC's reach two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A new channel gets a new connection, with the certificates that it was created with.
    ("grpc.use_local_subchannel_pool", 1),
]

# Texts of gRPC, and what to do about them.
_ADVICE = {
    "WRONG_VERSION_NUMBER": ": for a broker without TLS, set plaintext=True",
    "CERTIFICATE_VERIFY_FAILED": ": set ca_file to the authorities of the broker's certificate",
}

_Response = TypeVar("_Response", bound=Message)


class UnimplementedError(Error):
    """The broker does not know the method of a call."""


class Connection:
    """A gRPC channel that is opened at the first call, and replaced when certificates change."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._channel: Optional[grpc.Channel] = None
        self._files: tuple[Optional[bytes], ...] = ()
        self._stopped = threading.Event()

    def call(
        self, method: str, request: Message, response: type[_Response], timeout: float
    ) -> _Response:
        """Make a unary call. While the broker is unavailable, call again for up to 5 s."""
        start = time.monotonic()
        delay = 0.2
        credential_id: str = getattr(request, "credential_id", "")
        while True:
            try:
                channel, metadata = self._open(), self._metadata()
            except Error as failed:
                failed.credential_id = credential_id
                raise
            try:
                stub = channel.unary_unary(
                    _SERVICE + method, type(request).SerializeToString, response.FromString
                )
                left = max(start + timeout - time.monotonic(), 0.001)
                answer: _Response = stub(request, timeout=left, metadata=metadata)
                return answer
            except (grpc.RpcError, ValueError) as failure:
                if channel is not self._channel and not self._stopped.is_set():
                    continue  # `hold` has ended the call
                error = _error(failure, credential_id, self._address.target)
                if not _is_unavailable(failure):
                    raise error from None
            if error.retry_delay is not None:
                wait = error.retry_delay
            else:
                wait, delay = delay, min(2 * delay, 1.0)
            end = start + min(_RETRY_TIME, timeout)
            if time.monotonic() + wait >= end or self._stopped.wait(wait):
                raise error

    def watch(self, credential_ids: Sequence[str]) -> Any:
        """Open a stream: a gRPC call that is iterated for states, and that can be cancelled."""
        stub = self._open().unary_stream(
            _SERVICE + "WatchAuthDecorations",
            pb.WatchAuthDecorationsRequest.SerializeToString,
            pb.WatchAuthDecorationsResponse.FromString,
        )
        request = pb.WatchAuthDecorationsRequest(credential_ids=credential_ids)
        return stub(request, metadata=self._metadata())

    def stop(self) -> None:
        """End all calls, and wake those that wait for their next attempt."""
        self._stopped.set()
        with self._lock:
            self._disconnect()

    def hold(self) -> bool:
        """Close the channel, and let calls wait for `release`. Return whether it was open."""
        self._lock.acquire()
        return self._disconnect()

    def release(self) -> None:
        """Let calls open another channel."""
        self._lock.release()

    def reset(self) -> None:
        """Do the same as `release` in a process that `fork` has made."""
        self._lock = threading.Lock()

    def _disconnect(self) -> bool:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        return channel is not None

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        name = self._address.token_file
        if name is None:
            return ()
        token = _read(name, _MAX_TOKEN_FILE).strip()
        if not token or not _TOKEN_CHARACTERS.issuperset(token):
            raise _unreachable(f"the file {name} does not contain a token")
        return (("authorization", "Bearer " + token.decode("ascii")),)

    def _open(self) -> grpc.Channel:
        if self._stopped.is_set():
            raise _unreachable("the client is closed")
        address = self._address
        names = (address.ca_file, address.key_file, address.certificate_file)
        files = tuple(
            None if name is None else _read(name, _MAX_CERTIFICATE_FILE) for name in names
        )
        with self._lock:
            # Calls on the old channel continue: gRPC keeps it until the last of them has ended.
            if self._channel is None or files != self._files:
                self._channel, self._files = self._connect(files), files
            return self._channel

    def _connect(self, files: tuple[Optional[bytes], ...]) -> grpc.Channel:
        address = self._address
        options: list[tuple[str, object]] = list(_OPTIONS)
        if address.plaintext or address.is_unix:
            # A proxy could read what is sent without TLS.
            options.append(("grpc.enable_http_proxy", 0))
            return grpc.insecure_channel(address.target, options)
        if address.server_name:
            options.append(("grpc.ssl_target_name_override", address.server_name))
        return grpc.secure_channel(address.target, grpc.ssl_channel_credentials(*files), options)


def error_of_state(error: pb.AuthDecorationError, credential_id: str) -> Error:
    """Return the error in the state of a watched credential."""
    name = ErrorReason.Name(error.reason) if error.reason in ErrorReason.values() else ""
    delay = None
    if error.HasField("retry_delay"):
        delay = error.retry_delay.seconds + error.retry_delay.nanos / 1e9
    return Error(
        error.message,
        reason=name.removeprefix("ERROR_REASON_") or f"REASON_{error.reason}",
        credential_id=credential_id,
        retry_delay=delay,
    )


def _is_unavailable(failure: Exception) -> bool:
    return isinstance(failure, grpc.Call) and failure.code() is grpc.StatusCode.UNAVAILABLE


def _error(failure: Exception, credential_id: str, target: str) -> Error:
    if not isinstance(failure, grpc.Call):  # a channel that `stop` has closed
        return _unreachable("the client is closed", credential_id)
    trailer = {str(key): value for key, value in failure.trailing_metadata() or ()}
    reason = trailer.get("authmaterial-error-reason")
    message = failure.details() or "the call failed"
    if reason is None:  # gRPC's own texts contain addresses and causes, and no metadata of the call
        message = f"call the broker at {target}: {failure.code().name}: {message}"
        message += "".join(help_ for text, help_ in _ADVICE.items() if text in message)
    unimplemented = failure.code() is grpc.StatusCode.UNIMPLEMENTED
    return (UnimplementedError if unimplemented else Error)(
        message,
        reason=str(reason or Reason.BROKER_UNREACHABLE),
        credential_id=credential_id,
        retry_delay=_retry_delay(trailer.get("grpc-status-details-bin")),
    )


def _retry_delay(details: object) -> Optional[float]:
    if not isinstance(details, bytes):
        return None
    info = RetryInfo()
    try:
        if any(detail.Unpack(info) for detail in Status.FromString(details).details):
            return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    except DecodeError:
        pass
    return None


def _unreachable(message: str, credential_id: str = "") -> Error:
    return Error(message, reason=Reason.BROKER_UNREACHABLE, credential_id=credential_id)


def _read(name: str, limit: int) -> bytes:
    try:
        with Path(name).open("rb") as file:
            content = file.read(limit + 1)
    except OSError as failure:
        raise _unreachable(f"read the file {name}: {failure.strerror}") from None
    if len(content) > limit:
        raise _unreachable(f"the file {name} has more than {limit} bytes")
    return content
