package com.authmaterial.client;

import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.function.Consumer;

/** Passes on the only answer of a call, or its error. */
final class Answer<R> implements StreamObserver<R> {
  private final Consumer<R> answered;
  private final Consumer<Throwable> failed;
  private R answer;

  Answer(Consumer<R> answered, Consumer<Throwable> failed) {
    this.answered = answered;
    this.failed = failed;
  }

  @Override
  public void onNext(R value) {
    answer = value;
  }

  @Override
  public void onError(Throwable error) {
    failed.accept(error);
  }

  @Override
  public void onCompleted() {
    if (answer == null) {
      failed.accept(Status.INTERNAL.withDescription("no answer").asRuntimeException());
    } else {
      answered.accept(answer);
    }
  }
}
