"""Performs the operations of a vector with one HTTP client."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

import requests
from google.protobuf import json_format

import authmaterial
from authmaterial._decoration import Decoration
from authmaterial._requests import _refusal
from authmaterial.v1.auth_decoration_pb2 import AuthDecoration

from http_clients import HTTPClient

Operation = dict[str, Any]


class Runner:
    """A program that uses one client of the broker with one HTTP client."""

    def __init__(self, http_client: type[HTTPClient]) -> None:
        self._http_client = http_client
        self._http: Optional[HTTPClient] = None
        self._broker: Optional[authmaterial.Client] = None
        self._now = 0.0
        self._error: Optional[BaseException] = None
        self._log = io.StringIO()
        self._handler = logging.StreamHandler(self._log)
        logging.getLogger("authmaterial").addHandler(self._handler)
        logging.getLogger("httpx").addHandler(self._handler)
        logging.getLogger("httpx").setLevel(logging.INFO)

    def perform(self, operation: Operation) -> Any:
        perform = getattr(self, "_" + operation["op"])
        return perform(operation)

    def close(self) -> None:
        if self._broker is not None:
            self._broker.close()
        if self._http is not None:
            self._http.close()
        self._broker = self._http = None
        for name in ("authmaterial", "httpx"):
            logging.getLogger(name).removeHandler(self._handler)

    def _new(self, operation: Operation) -> Any:
        if self._broker is not None:
            self._broker.close()
            self._http.close()
        options = dict(operation["broker"])
        self._broker = authmaterial.Client(options.pop("address"), **options)
        if "now" in operation:
            self._now = operation["now"]
            self._broker._core.clock = lambda: self._now
        self._ca_file = operation.get("provider_ca_file")
        self._http = self._http_client(self._broker, self._ca_file)
        return {}

    def _clock(self, operation: Operation) -> Any:
        self._now = operation["now"]
        return {}

    def _request(self, operation: Operation) -> Any:
        operation.setdefault("headers", [])
        operation.setdefault("follow_redirects", False)
        count, concurrency = operation.get("count", 1), operation.get("concurrency", 1)
        credentials = operation.get("credentials") or [operation.get("credential")]
        operations = [
            {**operation, "credential": credentials[index % len(credentials)]}
            for index in range(count)
        ]
        with ThreadPoolExecutor(concurrency) as threads:
            results = list(threads.map(self._send, operations))
        outcome = {"results": results}
        if self._http.request_after is not None:
            outcome["request_after"] = self._http.request_after
        return outcome

    def _send(self, operation: Operation) -> Any:
        try:
            return self._http.send(operation)
        except Exception as error:
            self._error = error
            return {"error": _describe(error)}

    def _apply(self, operation: Operation) -> Any:
        message = json_format.ParseDict(operation["decoration"], AuthDecoration())
        decoration = Decoration(message)
        request = requests.Request("GET", operation["url"]).prepare()
        request.headers.update(operation["headers"])
        refusal = _refusal(request, decoration)
        if refusal is not None:
            error = authmaterial.Error(
                refusal, reason="HOST_NOT_ALLOWED", credential_id=message.credential_id
            )
            return {"error": _describe(error)}
        headers = [(name.encode(), value.encode()) for name, value in operation["headers"]]
        return {
            "url": decoration.add_to_target(operation["url"]),
            "headers": [
                (name.decode(), value.decode())
                for name, value in decoration.add_to_headers(headers)
            ],
        }

    def _fork(self, operation: Operation) -> Any:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # ends a child that hangs
            try:
                os.close(reader)
                self._http = self._http_client(self._broker, self._ca_file)
                with os.fdopen(writer, "w") as pipe:
                    json.dump(self._request(operation), pipe)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            text = pipe.read()
        os.waitpid(child, 0)
        return json.loads(text) if text else {"results": []}

    def _load(self, operation: Operation) -> Any:
        request = {**operation, "method": "GET", "headers": [], "follow_redirects": False}
        start = time.monotonic()
        count, seconds = operation["count"], operation["seconds"]
        failures: list[str] = []
        lock = threading.Lock()

        def send(index: int) -> None:
            time.sleep(max(start + index * seconds / count - time.monotonic(), 0))
            result = self._send(request)
            if result.get("status") != 200:
                with lock:
                    failures.append(json.dumps(result))

        with ThreadPoolExecutor(operation["concurrency"]) as threads:
            list(threads.map(send, range(count)))
        return {"succeeded": count - len(failures), "failures": failures}

    def _texts(self, operation: Operation) -> Any:
        shown = [self._broker, self._http.shown, self._broker._core.__dict__]
        for credential in self._broker._core._credentials.values():
            shown += [credential, credential._copy, credential.__dict__]
            if credential._copy is not None:
                shown.append(f"{credential._copy}")
        texts = [text for value in shown for text in (repr(value), str(value))]
        if self._error is not None:
            texts += ["".join(traceback.format_exception(None, self._error, None))]
            texts += [repr(self._error), str(self._error), repr(vars(self._error))]
        self._handler.flush()
        return {"texts": [*texts, self._log.getvalue()]}

    def _close(self, operation: Operation) -> Any:
        self._broker.close()
        return {}


def _describe(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, authmaterial.Error):
        return {"message": f"{type(error).__name__}: {error}"}
    described: dict[str, Any] = {
        "reason": str(error.reason),
        "credential_id": error.credential_id,
        "message": str(error),
    }
    if error.retry_delay is not None:
        described["retry_seconds"] = error.retry_delay
    return described
