from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuthDecoration(_message.Message):
    __slots__ = ("credential_id", "version", "headers", "query_params", "expire_time", "refresh_time", "allowed_hosts", "rejected_statuses", "last_rejection_time", "rejected_when")
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    QUERY_PARAMS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFRESH_TIME_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_HOSTS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_STATUSES_FIELD_NUMBER: _ClassVar[int]
    LAST_REJECTION_TIME_FIELD_NUMBER: _ClassVar[int]
    REJECTED_WHEN_FIELD_NUMBER: _ClassVar[int]
    credential_id: str
    version: str
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    query_params: _containers.RepeatedCompositeFieldContainer[QueryParam]
    expire_time: _timestamp_pb2.Timestamp
    refresh_time: _timestamp_pb2.Timestamp
    allowed_hosts: _containers.RepeatedScalarFieldContainer[str]
    rejected_statuses: _containers.RepeatedScalarFieldContainer[int]
    last_rejection_time: _timestamp_pb2.Timestamp
    rejected_when: _containers.RepeatedCompositeFieldContainer[RejectionCondition]
    def __init__(self, credential_id: _Optional[str] = ..., version: _Optional[str] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., query_params: _Optional[_Iterable[_Union[QueryParam, _Mapping]]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., refresh_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., allowed_hosts: _Optional[_Iterable[str]] = ..., rejected_statuses: _Optional[_Iterable[int]] = ..., last_rejection_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., rejected_when: _Optional[_Iterable[_Union[RejectionCondition, _Mapping]]] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("name", "value", "only_if_absent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ONLY_IF_ABSENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    only_if_absent: bool
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., only_if_absent: bool = ...) -> None: ...

class QueryParam(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class RejectionCondition(_message.Message):
    __slots__ = ("statuses", "headers", "json")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedScalarFieldContainer[int]
    headers: _containers.RepeatedCompositeFieldContainer[HeaderCondition]
    json: JsonCondition
    def __init__(self, statuses: _Optional[_Iterable[int]] = ..., headers: _Optional[_Iterable[_Union[HeaderCondition, _Mapping]]] = ..., json: _Optional[_Union[JsonCondition, _Mapping]] = ...) -> None: ...

class HeaderCondition(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class JsonCondition(_message.Message):
    __slots__ = ("members",)
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[JsonMemberCondition]
    def __init__(self, members: _Optional[_Iterable[_Union[JsonMemberCondition, _Mapping]]] = ...) -> None: ...

class JsonMemberCondition(_message.Message):
    __slots__ = ("path", "string_value", "number_value", "bool_value", "negated")
    PATH_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEGATED_FIELD_NUMBER: _ClassVar[int]
    path: _containers.RepeatedScalarFieldContainer[str]
    string_value: str
    number_value: float
    bool_value: bool
    negated: bool
    def __init__(self, path: _Optional[_Iterable[str]] = ..., string_value: _Optional[str] = ..., number_value: _Optional[float] = ..., bool_value: bool = ..., negated: bool = ...) -> None: ...
