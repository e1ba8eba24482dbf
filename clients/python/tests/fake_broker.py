"""A broker for tests that need no vector: it serves one decoration of each credential."""

from __future__ import annotations

import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from authmaterial.v1 import broker_service_pb2 as pb
from authmaterial.v1.auth_decoration_pb2 import (
    AuthDecoration,
    Header,
    QueryParam,
    RejectionCondition,
)


class FakeBroker:
    """Serves decorations for a provider. `calls` has the names of the methods that were called."""

    def __init__(self, *hosts: str) -> None:
        self.calls: list[str] = []
        self.rejected_when: list[RejectionCondition] = []
        self.ids: set[str] = set()  # the IDs that streams have watched
        self.version = "v1"
        self.query: list[QueryParam] = []
        self.reported = threading.Event()
        self.answers = threading.Event()  # reports wait for it
        self.answers.set()
        self._hosts = list(hosts)
        self._server = grpc.server(futures.ThreadPoolExecutor(50))
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "authmaterial.v1.BrokerService",
                    {
                        "GetAuthDecoration": grpc.unary_unary_rpc_method_handler(
                            self._get,
                            pb.GetAuthDecorationRequest.FromString,
                            pb.GetAuthDecorationResponse.SerializeToString,
                        ),
                        "ReportRejection": grpc.unary_unary_rpc_method_handler(
                            self._report,
                            pb.ReportRejectionRequest.FromString,
                            pb.ReportRejectionResponse.SerializeToString,
                        ),
                        "WatchAuthDecorations": grpc.unary_stream_rpc_method_handler(
                            self._watch,
                            pb.WatchAuthDecorationsRequest.FromString,
                            pb.WatchAuthDecorationsResponse.SerializeToString,
                        ),
                    },
                ),
            )
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()

    def _decoration(self, credential_id: str) -> AuthDecoration:
        return AuthDecoration(
            credential_id=credential_id,
            version=self.version,
            headers=[Header(name="Authorization", value=f"Bearer {credential_id}-{self.version}")],
            query_params=self.query,
            allowed_hosts=self._hosts,
            refresh_time=Timestamp(seconds=int(time.time()) + 300),
            rejected_statuses=[401],
            rejected_when=self.rejected_when,
        )

    def _get(self, request, context):
        self.calls.append("get")
        return pb.GetAuthDecorationResponse(auth_decoration=self._decoration(request.credential_id))

    def _report(self, request, context):
        """Replace each version by v2."""
        self.calls.append("report")
        self.reported.set()
        self.answers.wait(30)
        self.version = "v2"
        return pb.ReportRejectionResponse(
            auth_decoration=self._decoration(request.credential_id),
            outcome=pb.ReportRejectionResponse.OUTCOME_REPLACED,
        )

    def _watch(self, request, context):
        ended = threading.Event()
        if not context.add_callback(ended.set):
            return  # the call has ended
        self.ids.update(request.credential_ids)
        self.calls.append("watch")
        for credential_id in request.credential_ids:
            yield pb.WatchAuthDecorationsResponse(
                credential_id=credential_id, auth_decoration=self._decoration(credential_id)
            )
        ended.wait(60)


class Provider:
    """Answers each request with its header Authorization, and with the next status of a list."""

    def __init__(self) -> None:
        self.statuses: list[int] = []  # then 200
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.statuses = self.statuses
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.headers.get("Authorization", "").encode()
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if statuses else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
