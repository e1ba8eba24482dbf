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
import requests
import requests.adapters
import trio
import urllib3
from google.protobuf.timestamp_pb2 import Timestamp

import authmaterial
from authmaterial import _core
from authmaterial.v1.auth_decoration_pb2 import AuthDecoration, QueryParam


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
    # Nothing listens at the address, so the call is retried for about 5 s. If a call or a pause
    # blocked the event loop, there would be a tick or two for each of the 7 attempts at most.
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

        assert asyncio.run(ticks()) > 14


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_while_streams_are_open(client, broker, provider):
    """Each child makes a call and opens a stream, and the parent continues."""
    url = f"http://{provider.host}/"
    for _ in range(10):
        with httpx.Client(auth=client.httpx_auth("pendo")) as http:
            assert http.get(url).text == "Bearer pendo-v1"
        watched(broker)
        broker.calls.clear()  # after the fork, the parent watches again
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


def test_forks_of_two_threads(broker, provider):
    """A client can be used after two threads have called fork at the same time."""
    client = authmaterial.Client(broker.address, plaintext=True)
    start = threading.Barrier(2)
    texts = []

    def fork():  # without os.fork, for which concurrent.futures may take a lock of its own
        start.wait()
        _core._before_fork()
        time.sleep(0.1)
        _core._after_fork_in_parent()

    def send(name):
        with httpx.Client(auth=client.httpx_auth(name)) as http:
            texts.append(http.get(f"http://{provider.host}/").text)

    send("pendo")
    watched(broker)
    runs = [(fork, ()), (fork, ())], [(send, ("other",))]
    for run in runs:
        threads = [threading.Thread(target=f, args=args, daemon=True) for f, args in run]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a lock of the client is held forever"
    assert texts == ["Bearer pendo-v1", "Bearer other-v1"]
    client.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_child_reports_usage_after_a_fork_during_a_report(client):
    core = client._core
    core._is_reporting = True
    child = os.fork()
    if child == 0:
        os._exit(1 if core._is_reporting else 0)
    assert os.waitpid(child, 0)[1] == 0


def test_version_that_was_replaced_is_ignored_for_a_minute(client, broker, provider):
    core = client._core
    with httpx.Client(auth=client.httpx_auth("pendo")) as http:
        provider.statuses.append(401)
        assert http.get(f"http://{provider.host}/").text == "Bearer pendo-v2"
        credential = core.credential("pendo")
        late = AuthDecoration(credential_id="pendo", version="v1", allowed_hosts=[provider.host])
        assert credential.store(late).version == "v2"
        core.clock = lambda: time.time() + 61
        assert credential.store(late).version == "v1"


def test_expired_copy_is_not_used_instead_of_a_version_that_was_replaced(client, provider):
    with httpx.Client(auth=client.httpx_auth("pendo")) as http:
        provider.statuses.append(401)
        assert http.get(f"http://{provider.host}/").text == "Bearer pendo-v2"
    credential = client._core.credential("pendo")
    late = AuthDecoration(credential_id="pendo", version="v1", allowed_hosts=[provider.host])
    with client._core.lock:  # no stream delivers a copy that has not expired
        credential._copy.expire_time = time.time() - 1
        assert credential.store(late).version == "v1"


def test_long_id_is_not_watched(client, broker, provider):
    long = "a" * 129
    for name in (long, "pendo"):
        with httpx.Client(auth=client.httpx_auth(name)) as http:
            http.get(f"http://{provider.host}/")
    watched(broker)
    assert broker.ids == {"pendo"}


@pytest.fixture
def credential(client):
    """A credential whose calls get no answer until the end of the test."""
    credential = client._core.credential("pendo")
    answer = threading.Event()
    credential._get = lambda call: answer.wait(60)
    yield credential
    answer.set()


def test_decoration_from_a_stream_ends_the_wait_for_a_call(credential):
    waiting = credential._shared_call()
    credential.deliver(AuthDecoration(credential_id="pendo", version="v3"))
    assert waiting.result(10).version == "v3"


def test_version_that_was_replaced_does_not_end_the_wait_for_a_call(credential):
    waiting = credential._shared_call()
    credential._replaced_until["v1"] = time.time() + 50
    credential.deliver(AuthDecoration(credential_id="pendo", version="v1"))
    assert not waiting.done()


def test_call_that_a_stream_has_ended_is_not_shared(credential):
    first = credential.fetch()
    expired = Timestamp(seconds=1)
    credential.deliver(AuthDecoration(credential_id="pendo", version="v3", expire_time=expired))
    second = credential.fetch()
    assert second is not first
    assert credential.fetch() is second


def test_response_of_urllib3_has_no_material(client, broker, provider):
    broker.query.append(QueryParam(name="key", value="secret"))
    retry = urllib3.Retry(1, status_forcelist=[503], backoff_factor=0)
    inner = requests.adapters.HTTPAdapter(max_retries=retry)
    with requests.Session() as session:
        session.mount("http://", client.requests_adapter("pendo", inner))
        response = session.get(f"http://{provider.host}/path?a=b")
        assert response.raw.geturl() == "/path?a=b"
        provider.statuses.append(503)
        response = session.get(f"http://{provider.host}/path?a=b")
    assert [attempt.url for attempt in response.raw.retries.history] == ["/path?a=b"]


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


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1:50051", True),
        ("dns:///127.0.0.1:50051", True),
        ("ipv6:[::1]:50051", True),
        ("unix:/run/broker.sock", True),
        ("127.example.com:50051", False),
        ("127.0.0.1.example.com:50051", False),
        ("ipv4:127.0.0.1:50051,10.0.0.1:50051", False),
    ],
)
def test_token_without_tls_stays_on_the_machine(address, is_local):
    try:
        authmaterial.Client(address, plaintext=True, token_file="token")
    except ValueError:
        assert not is_local
    else:
        assert is_local


def test_plaintext_uses_no_proxy(broker, provider, monkeypatch):
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")
    with (
        authmaterial.Client(broker.address, plaintext=True) as client,
        httpx.Client(auth=client.httpx_auth("pendo")) as http,
    ):
        assert http.get(f"http://{provider.host}/").text == "Bearer pendo-v1"


def test_errors_say_what_to_do(broker):
    with pytest.raises(ValueError, match="write dns:///HOST:PORT, and set plaintext=True"):
        authmaterial.Client("http://broker:50051")
    for options, text in [
        ({}, f"call the broker at {broker.address}: .*: for a broker without TLS, set plaintext"),
        ({"ca_file": "nowhere.pem"}, "credential 'pendo': read the file nowhere.pem"),
    ]:
        with (
            authmaterial.Client(broker.address, **options) as client,
            httpx.Client(auth=client.httpx_auth("pendo")) as http,
            pytest.raises(authmaterial.Error, match=text),
        ):
            http.get("https://127.0.0.1:1/")


def test_names_of_classes():
    assert f"{authmaterial.Error}" == "<class 'authmaterial.Error'>"
