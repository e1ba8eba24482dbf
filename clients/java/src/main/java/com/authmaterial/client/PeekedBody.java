package com.authmaterial.client;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;

/** A body whose beginning is read before the program reads the whole body. */
final class PeekedBody
    implements Flow.Publisher<List<ByteBuffer>>, Flow.Subscriber<List<ByteBuffer>> {
  /**
   * The whole body or, if it cannot be read or has more than MAX_BODY bytes, an array that matches
   * no condition.
   */
  final CompletableFuture<byte[]> start = new CompletableFuture<>();

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

  // This object's monitor guards the fields below.
  private final Queue<List<ByteBuffer>> held = new ArrayDeque<>();
  private Flow.Subscription upstream; // or null, before onSubscribe
  private Flow.Subscriber<? super List<ByteBuffer>> program; // or null
  private long demand;
  private boolean emitting;
  private boolean ended;
  private boolean done; // the program has received everything, or has cancelled
  private Throwable error; // or null

  PeekedBody(Flow.Publisher<List<ByteBuffer>> body) {
    body.subscribe(this);
  }

  void cancel() {
    Flow.Subscription current;
    synchronized (this) {
      done = true;
      current = upstream;
    }
    if (current != null) {
      current.cancel();
    }
  }

  @Override
  public void onSubscribe(Flow.Subscription subscription) {
    boolean cancelled;
    synchronized (this) {
      upstream = subscription;
      cancelled = done;
    }
    if (cancelled) {
      subscription.cancel();
    } else {
      subscription.request(1);
    }
  }

  @Override
  public void onNext(List<ByteBuffer> buffers) {
    synchronized (this) {
      held.add(buffers);
    }
    if (!start.isDone()) {
      for (ByteBuffer buffer : buffers) {
        byte[] copy = new byte[buffer.remaining()];
        buffer.duplicate().get(copy);
        bytes.writeBytes(copy);
      }
      if (bytes.size() <= Rejection.MAX_BODY) {
        upstream.request(1);
      } else {
        start.complete(new byte[0]);
      }
    }
    emit();
  }

  @Override
  public void onError(Throwable failed) {
    end(failed, new byte[0]);
  }

  @Override
  public void onComplete() {
    end(null, bytes.toByteArray());
  }

  private void end(Throwable failed, byte[] body) {
    synchronized (this) {
      ended = true;
      error = failed;
    }
    start.complete(body);
    emit();
  }

  @Override
  public void subscribe(Flow.Subscriber<? super List<ByteBuffer>> subscriber) {
    subscriber.onSubscribe(
        new Flow.Subscription() {
          @Override
          public void request(long n) {
            synchronized (PeekedBody.this) {
              demand = demand + n < 0 ? Long.MAX_VALUE : demand + n;
            }
            upstream.request(n); // items that are not asked for yet are held
            emit();
          }

          @Override
          public void cancel() {
            PeekedBody.this.cancel();
          }
        });
    synchronized (this) {
      program = subscriber;
    }
    emit();
  }

  /** Passes on what the program has asked for. Only one thread at a time does so. */
  private void emit() {
    while (true) {
      List<ByteBuffer> next = null;
      synchronized (this) {
        boolean ends = ended && held.isEmpty();
        if (emitting || done || program == null || !ends && (held.isEmpty() || demand == 0)) {
          return;
        }
        if (ends) {
          done = true;
        } else {
          next = held.remove();
          demand -= demand == Long.MAX_VALUE ? 0 : 1;
          emitting = true;
        }
      }
      if (next == null) {
        complete();
        return;
      }
      program.onNext(next);
      synchronized (this) {
        emitting = false;
      }
    }
  }

  private void complete() {
    if (error == null) {
      program.onComplete();
    } else {
      program.onError(error);
    }
  }
}
