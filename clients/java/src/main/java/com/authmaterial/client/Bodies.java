package com.authmaterial.client;

import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.Flow;

/** Knows which bodies can be sent again, and discards bodies of responses. */
final class Bodies {
  /** The longest body that is read so that the connection can be used again. */
  private static final long MAX_DISCARDED = 64 << 10;

  /** A publisher of the program can be anything, such as a stream that is read only once. */
  private static final Class<?> FROM_PUBLISHER =
      BodyPublishers.fromPublisher(BodyPublishers.noBody(), 1).getClass();

  private Bodies() {}

  static boolean repeatable(HttpRequest request) {
    BodyPublisher body = request.bodyPublisher().orElse(null);
    return body == null || body.contentLength() >= 0 && !FROM_PUBLISHER.isInstance(body);
  }

  /** Reads a short body to its end, and closes the connection of a long one. */
  static void discard(Flow.Publisher<List<ByteBuffer>> body) {
    body.subscribe(
        new Flow.Subscriber<>() {
          private Flow.Subscription subscription;
          private long size;

          @Override
          public void onSubscribe(Flow.Subscription subscription) {
            this.subscription = subscription;
            subscription.request(Long.MAX_VALUE);
          }

          @Override
          public void onNext(List<ByteBuffer> buffers) {
            for (ByteBuffer buffer : buffers) {
              size += buffer.remaining();
            }
            if (size > MAX_DISCARDED) {
              subscription.cancel();
            }
          }

          @Override
          public void onError(Throwable error) {}

          @Override
          public void onComplete() {}
        });
  }

  /** Passes a body on until it is cancelled. */
  static final class Cancellable implements Flow.Subscriber<List<ByteBuffer>> {
    private final Flow.Subscriber<List<ByteBuffer>> subscriber;
    private volatile Flow.Subscription subscription;
    private volatile boolean cancelled;

    Cancellable(Flow.Subscriber<List<ByteBuffer>> subscriber) {
      this.subscriber = subscriber;
    }

    void cancel() {
      cancelled = true;
      Flow.Subscription current = subscription;
      if (current != null) {
        current.cancel();
      }
    }

    @Override
    public void onSubscribe(Flow.Subscription started) {
      subscription = started;
      if (cancelled) {
        started.cancel();
      }
      subscriber.onSubscribe(started);
    }

    @Override
    public void onNext(List<ByteBuffer> buffers) {
      subscriber.onNext(buffers);
    }

    @Override
    public void onError(Throwable error) {
      subscriber.onError(error);
    }

    @Override
    public void onComplete() {
      subscriber.onComplete();
    }
  }
}
