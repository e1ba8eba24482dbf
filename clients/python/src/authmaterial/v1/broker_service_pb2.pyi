from authmaterial.v1 import auth_decoration_pb2 as _auth_decoration_pb2
from authmaterial.v1 import error_reason_pb2 as _error_reason_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetAuthDecorationRequest(_message.Message):
    __slots__ = ("credential_id",)
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    credential_id: str
    def __init__(self, credential_id: _Optional[str] = ...) -> None: ...

class GetAuthDecorationResponse(_message.Message):
    __slots__ = ("auth_decoration",)
    AUTH_DECORATION_FIELD_NUMBER: _ClassVar[int]
    auth_decoration: _auth_decoration_pb2.AuthDecoration
    def __init__(self, auth_decoration: _Optional[_Union[_auth_decoration_pb2.AuthDecoration, _Mapping]] = ...) -> None: ...

class BatchGetAuthDecorationsRequest(_message.Message):
    __slots__ = ("credential_ids",)
    CREDENTIAL_IDS_FIELD_NUMBER: _ClassVar[int]
    credential_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, credential_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchGetAuthDecorationsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AuthDecorationResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AuthDecorationResult, _Mapping]]] = ...) -> None: ...

class AuthDecorationResult(_message.Message):
    __slots__ = ("credential_id", "auth_decoration", "error")
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    AUTH_DECORATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    credential_id: str
    auth_decoration: _auth_decoration_pb2.AuthDecoration
    error: AuthDecorationError
    def __init__(self, credential_id: _Optional[str] = ..., auth_decoration: _Optional[_Union[_auth_decoration_pb2.AuthDecoration, _Mapping]] = ..., error: _Optional[_Union[AuthDecorationError, _Mapping]] = ...) -> None: ...

class AuthDecorationError(_message.Message):
    __slots__ = ("code", "reason", "message", "retry_delay")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: _error_reason_pb2.ErrorReason
    message: str
    retry_delay: _duration_pb2.Duration
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ..., retry_delay: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchAuthDecorationsRequest(_message.Message):
    __slots__ = ("credential_ids",)
    CREDENTIAL_IDS_FIELD_NUMBER: _ClassVar[int]
    credential_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, credential_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchAuthDecorationsResponse(_message.Message):
    __slots__ = ("credential_id", "auth_decoration", "error")
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    AUTH_DECORATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    credential_id: str
    auth_decoration: _auth_decoration_pb2.AuthDecoration
    error: AuthDecorationError
    def __init__(self, credential_id: _Optional[str] = ..., auth_decoration: _Optional[_Union[_auth_decoration_pb2.AuthDecoration, _Mapping]] = ..., error: _Optional[_Union[AuthDecorationError, _Mapping]] = ...) -> None: ...

class ReportRejectionRequest(_message.Message):
    __slots__ = ("credential_id", "version", "http_status")
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    credential_id: str
    version: str
    http_status: int
    def __init__(self, credential_id: _Optional[str] = ..., version: _Optional[str] = ..., http_status: _Optional[int] = ...) -> None: ...

class ReportRejectionResponse(_message.Message):
    __slots__ = ("auth_decoration", "outcome")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[ReportRejectionResponse.Outcome]
        OUTCOME_ALREADY_REPLACED: _ClassVar[ReportRejectionResponse.Outcome]
        OUTCOME_REPLACED: _ClassVar[ReportRejectionResponse.Outcome]
        OUTCOME_NOT_REPLACEABLE: _ClassVar[ReportRejectionResponse.Outcome]
    OUTCOME_UNSPECIFIED: ReportRejectionResponse.Outcome
    OUTCOME_ALREADY_REPLACED: ReportRejectionResponse.Outcome
    OUTCOME_REPLACED: ReportRejectionResponse.Outcome
    OUTCOME_NOT_REPLACEABLE: ReportRejectionResponse.Outcome
    AUTH_DECORATION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    auth_decoration: _auth_decoration_pb2.AuthDecoration
    outcome: ReportRejectionResponse.Outcome
    def __init__(self, auth_decoration: _Optional[_Union[_auth_decoration_pb2.AuthDecoration, _Mapping]] = ..., outcome: _Optional[_Union[ReportRejectionResponse.Outcome, str]] = ...) -> None: ...

class ReportUsageRequest(_message.Message):
    __slots__ = ("uses",)
    USES_FIELD_NUMBER: _ClassVar[int]
    uses: _containers.RepeatedCompositeFieldContainer[VersionUse]
    def __init__(self, uses: _Optional[_Iterable[_Union[VersionUse, _Mapping]]] = ...) -> None: ...

class VersionUse(_message.Message):
    __slots__ = ("credential_id", "version")
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    credential_id: str
    version: str
    def __init__(self, credential_id: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ReportUsageResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
