package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.GetAuthDecorationResponse;
import com.authmaterial.v1.WatchAuthDecorationsResponse;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;

/** One credential, with its copy of the latest decoration. */
final class Credential {
  private static final int MAX_ID = 128;

  final String id;
  final Copy copy;
  final Reports reports;
  private final Credentials all;

  /** The number of working streams that have delivered the state. */
  private final AtomicInteger live = new AtomicInteger();

  // The monitor of `all` guards the fields below.
  boolean watched; // a stream watches the credential, or will be opened for it
  Instant lastUse = Instant.MIN;
  private CompletableFuture<Prepared> call; // of GetAuthDecoration

  Credential(Credentials all, String id) {
    this.all = all;
    this.id = id;
    copy = new Copy(all);
    reports = new Reports(all, this);
  }

  Instant now() {
    return all.now();
  }

  /** Returns the decoration for a request, or null if the request must call {@link #get}. */
  Prepared current(Instant now) {
    Prepared current = copy.usable(now);
    if (current != null && live.get() == 0) {
      withoutStream(now, current);
    }
    return current;
  }

  /** Returns the decoration for a request, for which the request may have to wait. */
  CompletableFuture<Prepared> get() {
    synchronized (all) {
      if (all.closed) {
        return CompletableFuture.failedFuture(AuthmaterialException.closed(id));
      }
      watch();
      Instant now = all.now();
      Prepared current = copy.usable(now);
      if (current != null) {
        return CompletableFuture.completedFuture(current);
      }
      AuthmaterialException failure = copy.failure(now);
      if (failure != null) {
        return CompletableFuture.failedFuture(failure);
      }
      return call == null ? begin() : call;
    }
  }

  /** Records that a decoration is sent. Most calls do nothing. */
  void use(Prepared sent, Instant now) {
    if (now.getEpochSecond() >= sent.nextUse) {
      all.usage.record(this, sent, now);
    }
  }

  private void watch() {
    if (!watched && id.length() <= MAX_ID) {
      watched = true;
      lastUse = all.now();
      all.watch(this);
    }
  }

  /** Starts a call in the background if no stream delivers what the broker has renewed. */
  private void withoutStream(Instant now, Prepared current) {
    synchronized (all) {
      if (all.closed) {
        return;
      }
      watch();
      if (!now.isBefore(current.refresh) && copy.failure(now) == null && call == null) {
        begin();
      }
    }
  }

  private CompletableFuture<Prepared> begin() {
    CompletableFuture<Prepared> begun = new CompletableFuture<>();
    call = begun;
    all.scheduler.execute(
        () -> all.calls.get(id).whenComplete((response, error) -> end(begun, response, error)));
    return begun;
  }

  private void end(
      CompletableFuture<Prepared> begun, GetAuthDecorationResponse response, Throwable error) {
    Prepared answer = null;
    AuthmaterialException failed = null;
    try {
      answer = prepare(response == null ? null : response.getAuthDecoration(), error);
    } catch (AuthmaterialException e) {
      failed = e;
    }
    synchronized (all) {
      if (call != begun) {
        return; // a stream has delivered a decoration during the call
      }
      call = null;
      if (failed == null) {
        copy.replace(answer);
      } else {
        copy.fail(failed);
      }
    }
    if (failed == null) {
      begun.complete(answer);
    } else {
      begun.completeExceptionally(failed);
    }
  }

  /** Returns the decoration in the answer of a call, or throws the error of the call. */
  Prepared prepare(AuthDecoration decoration, Throwable error) throws AuthmaterialException {
    if (error != null) {
      throw (AuthmaterialException) error;
    }
    return Prepared.of(id, decoration);
  }

  /** Processes the first or a later state from a stream. */
  void deliver(WatchAuthDecorationsResponse state) {
    CompletableFuture<Prepared> ended = null;
    Prepared delivered = null;
    AuthmaterialException failed = null;
    try {
      if (state.hasError()) {
        failed = Errors.ofState(id, state.getError());
      } else {
        delivered = Prepared.of(id, state.getAuthDecoration());
      }
    } catch (AuthmaterialException e) {
      failed = e;
    }
    synchronized (all) {
      if (failed != null) {
        copy.fail(failed);
      } else if (copy.replace(delivered)) {
        ended = call;
        call = null;
      }
    }
    if (ended != null) {
      ended.complete(delivered);
    }
  }

  void streamWorks() {
    live.incrementAndGet();
  }

  void streamEnded() {
    live.decrementAndGet();
  }

  /** Removes the copy, and lets the waiting requests fail. */
  void close() {
    CompletableFuture<Prepared> ended;
    synchronized (all) {
      copy.remove();
      ended = call;
      call = null;
    }
    if (ended != null) {
      ended.completeExceptionally(AuthmaterialException.closed(id));
    }
    reports.close();
  }

  @Override
  public String toString() {
    return "credential " + id;
  }
}
