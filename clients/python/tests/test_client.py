"""What the vectors cannot show: event loops, fork, other transports."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
import time

import httpx
import pytest
import trio

import authmaterial


@pytest.fixture
def client(broker):
    with authmaterial.Client(broker.address, plaintext=True) as client:
        yield client


def watched(broker):
    end = time.monotonic() + 10
    while "watch" not in broker.calls:
        assert time.monotonic() < end, "the client opened no stream"
        time.sleep(0.01)


async def get(client, provider):
    async with httpx.AsyncClient(auth=client.httpx_auth("pendo")) as http:
        return (await http.get(f"http://{provider.host}/")).text


def test_event_loops_share_one_call(client, broker, provider):
    texts = []

    def run():
        texts.append(asyncio.run(get(client, provider)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["Bearer pendo-v1"] * 4
    assert broker.calls.count("get") == 1


def test_trio(client, provider):
    assert trio.run(get, client, provider) == "Bearer pendo-v1"


def test_event_loop_is_not_blocked_by_a_call(broker, provider):
    # Nothing listens at the address, so the call is retried for about 5 s.
    with authmaterial.Client("127.0.0.1:1", plaintext=True) as client:

        async def ticks():
            request = asyncio.ensure_future(get(client, provider))
            count = 0
            while not request.done():
                await asyncio.sleep(0.05)
                count += 1
            with pytest.raises(authmaterial.Error) as raised:
                request.result()
            assert raised.value.reason == authmaterial.Reason.BROKER_UNREACHABLE
            return count

        assert asyncio.run(ticks()) > 30


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_while_streams_are_open(client, broker, provider):
    """Each child makes a call and opens a stream, and the parent continues."""
    url = f"http://{provider.host}/"
    for _ in range(10):
        broker.calls.clear()
        with httpx.Client(auth=client.httpx_auth("pendo")) as http:
            assert http.get(url).text == "Bearer pendo-v1"
        watched(broker)
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends a child that hangs
            try:
                with httpx.Client(auth=client.httpx_auth("other")) as http:
                    right = http.get(url).text == "Bearer other-v1"
                os._exit(0 if right else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


def test_parent_watches_again_after_fork(client, broker, provider):
    with httpx.Client(auth=client.httpx_auth("pendo")) as http:
        http.get(f"http://{provider.host}/")
        watched(broker)
        broker.calls.clear()
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        watched(broker)
        assert http.get(f"http://{provider.host}/").text == "Bearer pendo-v1"
    assert broker.calls == ["watch"]


def test_other_transports(client, provider):
    def answer(request):
        return httpx.Response(200, text=request.headers.get("authorization", ""))

    url = f"http://{provider.host}/"
    mock = httpx.MockTransport(answer)
    with httpx.Client(transport=client.httpx_transport("pendo", mock)) as http:
        assert http.get(url).text == "Bearer pendo-v1"
    http = httpx.Client(transport=mock, auth=client.httpx_auth("pendo"))
    with http, pytest.raises(RuntimeError, match="httpx_transport"):
        http.get(url)


def test_trace_of_the_program_still_works(client, provider):
    events = []
    with httpx.Client(auth=client.httpx_auth("pendo")) as http:
        http.get(
            f"http://{provider.host}/",
            extensions={"trace": lambda name, info: events.append(name)},
        )
    assert "http11.send_request_headers.started" in events


def test_errors_can_be_pickled_and_decorations_cannot(client, provider):
    error = authmaterial.Error("no", reason="ACCESS_DENIED", credential_id="pendo", retry_delay=2.0)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with httpx.Client(auth=client.httpx_auth("pendo")) as http:
        http.get(f"http://{provider.host}/")
    with pytest.raises(TypeError):
        pickle.dumps(client._core.credential("pendo").current())


@pytest.mark.parametrize(
    "options",
    [
        {"certificate_file": "client.pem"},
        {"plaintext": True, "ca_file": "ca.pem"},
        {"plaintext": True, "token_file": "token"},
    ],
)
def test_options_that_exclude_each_other(options):
    with pytest.raises(ValueError):  # noqa: PT011
        authmaterial.Client("dns:///broker:50051", **options)
