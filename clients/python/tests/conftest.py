from __future__ import annotations

import pytest

from fake_broker import FakeBroker, Provider


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
