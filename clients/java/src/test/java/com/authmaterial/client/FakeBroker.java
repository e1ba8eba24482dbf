package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.BrokerServiceGrpc;
import com.authmaterial.v1.GetAuthDecorationRequest;
import com.authmaterial.v1.GetAuthDecorationResponse;
import com.authmaterial.v1.Header;
import com.authmaterial.v1.ReportUsageRequest;
import com.authmaterial.v1.ReportUsageResponse;
import com.google.protobuf.Timestamp;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerBuilder;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** A broker that serves a header for one host: at first `Authorization: Bearer secret`. */
final class FakeBroker implements AutoCloseable {
  private final Server server;

  volatile Metadata trailers = new Metadata(); // of the error for the credential `missing`
  volatile boolean refusesUsage;
  final AtomicInteger refusals = new AtomicInteger();
  final Set<String> used =
      ConcurrentHashMap.newKeySet(); // the credentials whose uses were reported
  volatile Timestamp expires = Timestamp.newBuilder().setSeconds(1L << 33).build();
  volatile Header header =
      Header.newBuilder().setName("Authorization").setValue("Bearer secret").build();

  FakeBroker(String allowedHost) throws IOException {
    this(allowedHost, Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create()));
  }

  FakeBroker(String allowedHost, ServerBuilder<?> builder) throws IOException {
    BrokerServiceGrpc.BrokerServiceImplBase service =
        new BrokerServiceGrpc.BrokerServiceImplBase() {
          @Override
          public void getAuthDecoration(
              GetAuthDecorationRequest request, StreamObserver<GetAuthDecorationResponse> answer) {
            if (request.getCredentialId().equals("missing")) {
              answer.onError(Status.NOT_FOUND.asException(trailers));
              return;
            }
            AuthDecoration decoration =
                AuthDecoration.newBuilder()
                    .setCredentialId("pendo")
                    .setVersion("v1")
                    .addHeaders(header)
                    .addAllowedHosts(allowedHost)
                    .setExpireTime(expires)
                    .build();
            answer.onNext(
                GetAuthDecorationResponse.newBuilder().setAuthDecoration(decoration).build());
            answer.onCompleted();
          }

          @Override
          public void reportUsage(
              ReportUsageRequest request, StreamObserver<ReportUsageResponse> answer) {
            if (refusesUsage) {
              answer.onError(Status.RESOURCE_EXHAUSTED.asException());
              refusals.incrementAndGet();
              return;
            }
            request.getUsesList().forEach(use -> used.add(use.getCredentialId()));
            answer.onNext(ReportUsageResponse.getDefaultInstance());
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
