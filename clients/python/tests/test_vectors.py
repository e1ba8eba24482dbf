"""Runs the vectors of clients/vectors with each HTTP client."""

from __future__ import annotations

import pytest

from http_clients import HTTP_CLIENTS
from runner import Runner
from world import World


@pytest.fixture(scope="session")
def world():
    world = World()
    yield world
    world.close()


def pytest_generate_tests(metafunc):
    if "vector" in metafunc.fixturenames:
        kind = "load" if metafunc.function.__name__ == "test_load" else ""
        world = World()
        vectors = world.vectors(kind)
        world.close()
        metafunc.parametrize("vector", vectors)


@pytest.mark.parametrize("http_client", HTTP_CLIENTS)
def test_vector(world, vector, http_client):
    runner = Runner(HTTP_CLIENTS[http_client])
    try:
        last = world.run(vector, f"python {http_client}", runner.perform)
    finally:
        runner.close()
    assert last["op"] == "done", last.get("why")
