from __future__ import annotations

import os

import pytest

import world
from fake_broker import FakeBroker, Provider


def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.clientworld = world.start()


def pytest_unconfigure(config):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        with config.clientworld as process:
            process.stdin.close()


@pytest.fixture
def provider():
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def broker(provider):
    broker = FakeBroker(provider.host)
    yield broker
    broker.close()
