"""The address of the broker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

_LOOPBACK = re.compile(r"(dns:(///)?|ipv[46]:)?(127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?")


@dataclass(frozen=True)
class Address:
    """Where the broker is, and how the client shows who it is."""

    target: str
    plaintext: bool
    ca_file: Optional[str]
    certificate_file: Optional[str]
    key_file: Optional[str]
    server_name: Optional[str]
    token_file: Optional[str]

    def __post_init__(self) -> None:
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("set both certificate_file and key_file, or neither")
        if self.plaintext and (self.ca_file or self.certificate_file or self.server_name):
            raise ValueError("plaintext excludes ca_file, certificate_file and server_name")
        if self.target.startswith(("http://", "https://")):
            raise ValueError(
                f"the address {self.target!r} is a URL: write dns:///HOST:PORT,"
                " and set plaintext=True for a broker without TLS"
            )
        if self.plaintext and self.token_file and not self.is_local:
            raise ValueError(
                "a token is sent only over TLS, to a loopback address or to a Unix socket"
            )

    @property
    def is_unix(self) -> bool:
        return self.target.startswith(("unix:", "unix-abstract:"))

    @property
    def is_local(self) -> bool:
        return self.is_unix or _LOOPBACK.fullmatch(self.target) is not None
