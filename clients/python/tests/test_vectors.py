"""Runs the vectors of clients/vectors with each HTTP client."""

from __future__ import annotations

import os
import re

import pytest

from http_clients import HTTP_CLIENTS
from runner import Runner
from world import World

# The transports of httpx use the same code as its Auth, except in these vectors.
TRANSPORTS = re.compile("redirect|location|reject|repeat|body|host|query|header|unchanged")


def pytest_generate_tests(metafunc):
    if "vector" not in metafunc.fixturenames:
        return
    is_load = metafunc.function.__name__ == "test_load"
    vectors = World().vectors("load" if is_load else "")
    pairs = [
        (vector, http_client)
        for vector in vectors
        for http_client in HTTP_CLIENTS
        if "transport" not in http_client or (TRANSPORTS.search(vector) and not is_load)
    ]
    metafunc.parametrize(("vector", "http_client"), pairs)


def run(vector, http_client):
    runner = Runner(HTTP_CLIENTS[http_client])
    try:
        last = World().run(vector, f"python {http_client}", runner.perform)
    finally:
        runner.close()
    assert last["op"] == "done", last.get("why")
    return last


def test_vector(vector, http_client):
    run(vector, http_client)


@pytest.mark.skipif(not os.environ.get("LOAD"), reason="runs for minutes; set LOAD=1")
def test_load(vector, http_client):
    print(run(vector, http_client))
