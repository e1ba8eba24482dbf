"""Calls a broker with generated stubs: `call.py ADDRESS`."""

import sys

import grpc
from authmaterial.v1.broker_service_pb2 import GetAuthDecorationRequest
from authmaterial.v1.broker_service_pb2_grpc import BrokerServiceStub

with grpc.insecure_channel(sys.argv[1]) as channel:
    broker = BrokerServiceStub(channel)
    response = broker.GetAuthDecoration(GetAuthDecorationRequest(credential_id="sendpulse-key"))
    for header in response.auth_decoration.headers:
        print(f"{header.name}: {header.value}")
    try:
        broker.GetAuthDecoration(GetAuthDecorationRequest(credential_id="unknown"))
    except grpc.RpcError as error:
        print(dict(error.trailing_metadata() or ()).get("authmaterial-error-reason"))
