package com.authmaterial.client;

import com.authmaterial.v1.BrokerServiceGrpc.BrokerServiceStub;
import com.authmaterial.v1.GetAuthDecorationRequest;
import com.authmaterial.v1.GetAuthDecorationResponse;
import com.authmaterial.v1.ReportRejectionRequest;
import com.authmaterial.v1.ReportRejectionResponse;
import com.authmaterial.v1.ReportUsageRequest;
import com.authmaterial.v1.ReportUsageResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;

/**
 * Makes calls to the broker that have one answer. The futures fail with an AuthmaterialException.
 */
final class Calls {
  /**
   * The time for GetAuthDecoration. To get a new token, the broker may wait 3 s for its turn and 2
   * s for Redis, before a token request of up to 10 s.
   */
  private static final Duration GET = Duration.ofSeconds(20);

  /** The time for ReportRejection. The broker may wait for three token requests. */
  private static final Duration REPORT = Duration.ofSeconds(45);

  private static final Duration RETRY_FOR = Duration.ofSeconds(5);
  private static final Duration FIRST_PAUSE = Duration.ofMillis(200);
  private static final Duration MAX_PAUSE = Duration.ofSeconds(1);

  private final Connection connection;
  private final ScheduledExecutorService scheduler;

  Calls(Connection connection, ScheduledExecutorService scheduler) {
    this.connection = connection;
    this.scheduler = scheduler;
  }

  CompletableFuture<GetAuthDecorationResponse> get(String credentialId) {
    GetAuthDecorationRequest request =
        GetAuthDecorationRequest.newBuilder().setCredentialId(credentialId).build();
    return new Attempts<GetAuthDecorationResponse>(
            credentialId, GET, (stub, answer) -> stub.getAuthDecoration(request, answer))
        .start();
  }

  CompletableFuture<ReportRejectionResponse> report(
      String credentialId, String version, int httpStatus) {
    ReportRejectionRequest request =
        ReportRejectionRequest.newBuilder()
            .setCredentialId(credentialId)
            .setVersion(version)
            .setHttpStatus(httpStatus)
            .build();
    return new Attempts<ReportRejectionResponse>(
            credentialId, REPORT, (stub, answer) -> stub.reportRejection(request, answer))
        .start();
  }

  /** Reports uses once. The future fails with the error of gRPC. */
  CompletableFuture<ReportUsageResponse> usage(ReportUsageRequest request, Duration timeout) {
    CompletableFuture<ReportUsageResponse> result = new CompletableFuture<>();
    Context.ROOT.run(
        () ->
            connection
                .stub()
                .withDeadlineAfter(timeout)
                .reportUsage(
                    request, new Answer<>(result::complete, result::completeExceptionally)));
    return result;
  }

  /** A call that is made again while it fails with UNAVAILABLE. */
  private final class Attempts<R> {
    private final String credentialId;
    private final Duration timeout;
    private final BiConsumer<BrokerServiceStub, StreamObserver<R>> call;
    private final CompletableFuture<R> result = new CompletableFuture<>();
    private final long began = System.nanoTime();
    private Duration pause = FIRST_PAUSE;

    Attempts(
        String credentialId,
        Duration timeout,
        BiConsumer<BrokerServiceStub, StreamObserver<R>> call) {
      this.credentialId = credentialId;
      this.timeout = timeout;
      this.call = call;
    }

    CompletableFuture<R> start() {
      attempt();
      return result;
    }

    private void attempt() {
      Answer<R> answer = new Answer<>(result::complete, this::failed);
      try {
        // Without Context.ROOT, the end of a call that the program serves would cancel this one.
        Context.ROOT.run(() -> call.accept(connection.stub().withDeadlineAfter(timeout), answer));
      } catch (RuntimeException e) {
        failed(e); // requests wait for the result
      }
    }

    private void failed(Throwable error) {
      AuthmaterialException failed = Errors.ofCall(credentialId, connection.address(), error);
      Duration wait = failed.retryDelay().orElse(pause);
      Duration passed = Duration.ofNanos(System.nanoTime() - began);
      boolean again =
          Status.fromThrowable(error).getCode() == Status.Code.UNAVAILABLE
              && passed.plus(wait).compareTo(RETRY_FOR) < 0;
      if (!again) {
        result.completeExceptionally(failed);
        return;
      }
      pause = pause.multipliedBy(2).compareTo(MAX_PAUSE) < 0 ? pause.multipliedBy(2) : MAX_PAUSE;
      scheduler.schedule(this::attempt, wait.toNanos(), TimeUnit.NANOSECONDS);
    }
  }
}
