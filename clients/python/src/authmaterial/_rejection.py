"""The responses with which a provider rejects the material."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Optional

from authmaterial.v1.auth_decoration_pb2 import (
    AuthDecoration,
    JsonCondition,
    JsonMemberCondition,
)

# The size of the largest body that is compared with a condition.
MAX_BODY = 64 << 10

_INDEX = re.compile(r"0|[1-9][0-9]*")


class Rejection:
    """Recognises the responses with which a provider rejects a decoration. It is immutable."""

    __slots__ = ("_conditions", "_statuses")

    def __init__(self, message: AuthDecoration) -> None:
        self._statuses = frozenset(message.rejected_statuses)
        self._conditions = tuple(message.rejected_when)

    def decide(
        self, status: int, header: Callable[[str], Optional[str]]
    ) -> tuple[bool, Sequence[JsonCondition]]:
        """Return whether a response is a rejection.

        If this depends on the body, the result has the conditions of which the body must match one.
        The function ``header`` returns the values of a header, joined by a comma and a space.
        """
        if status in self._statuses:
            return True, ()
        undecided = []
        for condition in self._conditions:
            if status not in condition.statuses or any(
                header(one.name) != one.value for one in condition.headers
            ):
                continue
            if not condition.HasField("json"):
                return True, ()
            undecided.append(condition.json)
        return False, undecided


def is_readable(header: Callable[[str], Optional[str]]) -> bool:
    """Return whether a response with these headers has a body that may be read for a condition."""
    length = header("Content-Length") or ""
    media_type = (header("Content-Type") or "").partition(";")[0].strip().lower()
    return media_type != "text/event-stream" and not (length.isdigit() and int(length) > MAX_BODY)


def matches(body: bytes, conditions: Iterable[JsonCondition]) -> bool:
    """Return whether a complete body matches one of the conditions."""
    if len(body) > MAX_BODY:
        return False
    try:
        document = json.loads(body.decode(), parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return any(
        all(_member_matches(document, member) for member in one.members) for one in conditions
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _member_matches(value: Any, member: JsonMemberCondition) -> bool:
    for step in member.path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return False
    kind = member.WhichOneof("value")
    if kind is None:
        return False
    wanted = getattr(member, kind)
    return (type(value) is type(wanted) and value == wanted) != member.negated
