"""The error type of the client."""

from __future__ import annotations

import enum
from typing import Optional


class Reason(str, enum.Enum):
    """Why there is no material for a request.

    The broker's reasons are described in its API. A newer broker may have reasons that are not
    listed here; they are plain texts in :attr:`Error.reason`.
    """

    INVALID_REQUEST = "INVALID_REQUEST"
    CREDENTIAL_NOT_FOUND = "CREDENTIAL_NOT_FOUND"
    CALLER_UNAUTHENTICATED = "CALLER_UNAUTHENTICATED"
    AUTHENTICATION_UNAVAILABLE = "AUTHENTICATION_UNAVAILABLE"
    ACCESS_DENIED = "ACCESS_DENIED"
    CREDENTIAL_REJECTED = "CREDENTIAL_REJECTED"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    PROVIDER_RATE_LIMITED = "PROVIDER_RATE_LIMITED"
    RATE_LIMITED = "RATE_LIMITED"
    SERVER_STOPPING = "SERVER_STOPPING"
    INTERNAL = "INTERNAL"
    WATCH_TOO_OLD = "WATCH_TOO_OLD"

    BROKER_UNREACHABLE = "BROKER_UNREACHABLE"
    """The client has no material, and the broker does not answer."""

    HOST_NOT_ALLOWED = "HOST_NOT_ALLOWED"
    """The material must not be sent to the host of the request's URL."""

    def __str__(self) -> str:
        return self.value


class Error(Exception):
    """A request cannot get its material. The text contains no secret.

    :ivar reason: a :class:`Reason`, or the text of a reason that this version does not know.
    :ivar credential_id: the ID of the credential.
    :ivar retry_delay: the seconds after which a retry may help, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        credential_id: str,
        retry_delay: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = Reason(reason) if reason in Reason.__members__ else reason
        self.credential_id = credential_id
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        return f"credential {self.credential_id!r}: {self.message} ({self.reason})"

    def copy(self) -> Error:
        """Return an equal error, so that each program that raises it has its own traceback."""
        return Error(
            self.message,
            reason=self.reason,
            credential_id=self.credential_id,
            retry_delay=self.retry_delay,
        )

    def __reduce__(self) -> tuple[object, ...]:
        arguments = (self.message, str(self.reason), self.credential_id, self.retry_delay)
        return _restore, arguments


def _restore(message: str, reason: str, credential_id: str, retry_delay: Optional[float]) -> Error:
    return Error(message, reason=reason, credential_id=credential_id, retry_delay=retry_delay)
