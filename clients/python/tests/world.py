"""The program that runs the vectors, and the loop that performs its operations."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from typing import Any, Callable

Operation = dict[str, Any]


class World:
    """The program `clientworld`, which runs vectors for all processes of the tests."""

    def __init__(self) -> None:
        self._url = os.environ["CLIENTWORLD_URL"]

    def vectors(self, kind: str = "") -> list[str]:
        return self._call("/vectors" + (f"?kind={kind}" if kind else ""))

    def run(self, vector: str, client: str, perform: Callable[[Operation], Any]) -> Operation:
        """Run a vector, and return the last operation: `done` or `failed`."""
        operation = self._call(f"/vectors/{vector}", {"client": client})
        while operation["op"] not in ("done", "failed"):
            outcome = perform(operation)
            operation = self._call(f"/sessions/{operation['session']}", outcome)
        return operation

    def _call(self, path: str, value: Any = None) -> Any:
        data = None if value is None else json.dumps(value).encode()
        with urllib.request.urlopen(self._url + path, data, timeout=120) as response:
            return json.load(response)


def start() -> subprocess.Popen[bytes]:
    """Start the program whose path is in the environment variable CLIENTWORLD."""
    process = subprocess.Popen(
        [os.environ["CLIENTWORLD"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    os.environ["CLIENTWORLD_URL"] = json.loads(process.stdout.readline())["url"]
    return process
