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
    world = World()
    is_load = metafunc.function.__name__ == "test_load"
    vectors = world.vectors("load" if is_load else "")
    world.close()
    pairs = [
        (vector, http_client)
        for vector in vectors
        for http_client in HTTP_CLIENTS
        if "transport" not in http_client or (TRANSPORTS.search(vector) and not is_load)
    ]
    metafunc.parametrize(("vector", "http_client"), pairs)


@pytest.fixture(scope="session")
def world():
    world = World()
    yield world
    world.close()


def run(world, vector, http_client):
    runner = Runner(HTTP_CLIENTS[http_client])
    try:
        last = world.run(vector, f"python {http_client}", runner.perform)
    finally:
        runner.close()
    assert last["op"] == "done", last.get("why")
    return last


def test_vector(world, vector, http_client):
    run(world, vector, http_client)


@pytest.mark.skipif("LOAD" not in os.environ, reason="runs for minutes; set LOAD=1")
def test_load(world, vector, http_client):
    print(run(world, vector, http_client))
