package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.BrokerServiceGrpc;
import com.authmaterial.v1.GetAuthDecorationRequest;
import com.authmaterial.v1.GetAuthDecorationResponse;
import com.authmaterial.v1.Header;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.ServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;

/** A broker that serves the header `Authorization: Bearer secret` for one host. */
final class FakeBroker implements AutoCloseable {
  private final Server server;

  FakeBroker(String allowedHost) throws IOException {
    this(allowedHost, Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create()));
  }

  FakeBroker(String allowedHost, ServerBuilder<?> builder) throws IOException {
    AuthDecoration decoration =
        AuthDecoration.newBuilder()
            .setCredentialId("pendo")
            .setVersion("v1")
            .addHeaders(
                Header.newBuilder().setName("Authorization").setValue("Bearer secret").build())
            .addAllowedHosts(allowedHost)
            .build();
    BrokerServiceGrpc.BrokerServiceImplBase service =
        new BrokerServiceGrpc.BrokerServiceImplBase() {
          @Override
          public void getAuthDecoration(
              GetAuthDecorationRequest request, StreamObserver<GetAuthDecorationResponse> answer) {
            answer.onNext(
                GetAuthDecorationResponse.newBuilder().setAuthDecoration(decoration).build());
            answer.onCompleted();
          }
        };
    server = builder.addService(service).build().start();
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
