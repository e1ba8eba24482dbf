package com.authmaterial.client;

import java.net.http.HttpTimeoutException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/**
 * A future whose result takes several steps. A step is a future too, and is cancelled with this
 * one. The continuations run one after the other, in the threads that complete the steps.
 */
abstract class Steps<R> extends CompletableFuture<R> {
  /** Whether the thread that begins a step waits for its end. */
  private final boolean blocking;

  private volatile CompletableFuture<?> step;

  Steps(boolean blocking) {
    this.blocking = blocking;
  }

  @Override
  public boolean cancel(boolean mayInterrupt) {
    boolean cancelled = super.cancel(mayInterrupt);
    CompletableFuture<?> current = step;
    if (current != null) {
      current.cancel(mayInterrupt);
    }
    return cancelled;
  }

  /**
   * Continues with the result of a step, and fails if the step or the continuation fails.
   *
   * @param discard is called instead of `next` if the step fails, with null, or if this future has
   *     ended before the step
   */
  final <V> void await(CompletableFuture<V> awaited, Consumer<V> next, Consumer<V> discard) {
    step = awaited;
    if (isCancelled()) {
      awaited.cancel(true);
    }
    if (blocking) {
      block(awaited);
    }
    awaited.whenComplete(
        (value, error) -> {
          if (error == null && !isDone()) {
            proceed(next, value);
            return;
          }
          discard.accept(value);
          if (error != null) {
            fail(cause(error));
          }
        });
  }

  private <V> void proceed(Consumer<V> next, V value) {
    try {
      next.accept(value);
    } catch (RuntimeException | Error e) {
      fail(e);
    }
  }

  /** Waits until a step has ended, with whatever result. */
  private void block(CompletableFuture<?> awaited) {
    try {
      awaited.get();
    } catch (InterruptedException e) {
      completeExceptionally(e);
      awaited.cancel(true);
    } catch (ExecutionException | CancellationException e) {
      return; // this future fails with the error of the step
    }
  }

  // Code of the program that depends on this future may block, so it must not run in a thread of
  // the
  // HTTP client, of gRPC or of the scheduler.
  final void succeed(R result) {
    if (blocking) {
      complete(result);
    } else {
      completeAsync(() -> result);
    }
  }

  final void fail(Throwable error) {
    if (blocking) {
      completeExceptionally(error);
    } else {
      defaultExecutor().execute(() -> completeExceptionally(error));
    }
  }

  private static Throwable cause(Throwable error) {
    Throwable cause =
        error instanceof CompletionException && error.getCause() != null ? error.getCause() : error;
    return cause instanceof TimeoutException
        ? new HttpTimeoutException("request timed out")
        : cause;
  }
}
