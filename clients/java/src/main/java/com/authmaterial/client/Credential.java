package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.GetAuthDecorationResponse;
import com.authmaterial.v1.WatchAuthDecorationsResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicInteger;

/** What a client knows about one credential. */
final class Credential {
  private static final Duration MIN_REMEMBERED = Duration.ofSeconds(1);
  private static final Duration MAX_REMEMBERED = Duration.ofSeconds(30);

  /** A replica that does not know the successor of a rejected version could send the version. */
  private static final Duration IGNORE_REPLACED = Duration.ofMinutes(1);

  private static final int MAX_ID = 128;
  private static final Set<String> FINAL_REASONS =
      Set.of("CREDENTIAL_NOT_FOUND", "ACCESS_DENIED", "CREDENTIAL_REJECTED");

  final String id;
  private final Credentials all;

  /** The latest decoration, or null. */
  private volatile Prepared copy;

  /** The number of working streams that have delivered the state. */
  private final AtomicInteger live = new AtomicInteger();

  // The monitor of `all` guards the fields below.
  boolean watched; // a stream watches the credential, or will be opened for it
  Instant lastUse = Instant.MIN;
  private CompletableFuture<Prepared> call; // of GetAuthDecoration
  private AuthmaterialException failure;
  private Instant failedUntil = Instant.MIN;
  private final Map<String, Instant> replaced = new HashMap<>(); // versions that are ignored

  final Reports reports;

  Credential(Credentials all, String id) {
    this.all = all;
    this.id = id;
    reports = new Reports(all, this);
  }

  Instant now() {
    return all.now();
  }

  /** Returns the decoration for a request, or null if the request must call {@link #get}. */
  Prepared copy(Instant now) {
    Prepared current = copy;
    if (current == null || current.expired(now)) {
      return null;
    }
    if (live.get() == 0) {
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
      Prepared current = copy;
      if (current != null && !current.expired(now)) {
        return CompletableFuture.completedFuture(current);
      }
      if (failure != null && now.isBefore(failedUntil)) {
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
      if (!now.isBefore(current.refresh) && !now.isBefore(failedUntil) && call == null) {
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
      if (failed == null) {
        install(answer);
      } else {
        fail(failed);
      }
      if (call == begun) {
        call = null;
      }
    }
    // This has no effect if the stream has delivered a decoration during the call.
    if (failed == null) {
      begun.complete(answer);
    } else {
      begun.completeExceptionally(failed);
    }
  }

  /** Returns the decoration in an answer, or throws the error of the call. */
  Prepared prepare(AuthDecoration decoration, Throwable error) throws AuthmaterialException {
    Throwable cause = error instanceof CompletionException ? error.getCause() : error;
    if (cause instanceof AuthmaterialException failed) {
      throw failed;
    }
    if (cause != null) {
      throw Errors.ofCall(id, cause);
    }
    return Prepared.of(id, decoration);
  }

  /** Makes a decoration the copy, unless its version was rejected and replaced. */
  boolean install(Prepared decoration) {
    Instant ignored = replaced.getOrDefault(decoration.version, Instant.MIN);
    if (all.closed || all.now().isBefore(ignored)) {
      return false;
    }
    copy = decoration;
    failure = null;
    failedUntil = Instant.MIN;
    return true;
  }

  /** Remembers an error, and removes the copy if the error means that it must not be used. */
  private void fail(AuthmaterialException failed) {
    if (FINAL_REASONS.contains(failed.reason())) {
      copy = null;
    }
    Duration delay = failed.retryDelay().orElse(Duration.ZERO);
    if (delay.compareTo(MIN_REMEMBERED) < 0) {
      delay = MIN_REMEMBERED;
    } else if (delay.compareTo(MAX_REMEMBERED) > 0) {
      delay = MAX_REMEMBERED;
    }
    failure = failed;
    failedUntil = all.now().plus(delay);
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
        fail(failed);
      } else if (install(delivered)) {
        ended = call;
        call = null;
      }
    }
    if (ended != null) {
      ended.complete(delivered);
    }
  }

  /** Returns the copy if it can be used and has another version. */
  Prepared other(String version, Instant now) {
    Prepared current = copy;
    boolean other = current != null && !current.version.equals(version);
    return other && !current.expired(now) ? current : null;
  }

  void streamWorks() {
    live.incrementAndGet();
  }

  void streamEnded() {
    live.decrementAndGet();
  }

  /** Makes `install` ignore a version that has a successor. */
  void ignore(String version, Prepared successor, Instant now) {
    replaced.values().removeIf(until -> !now.isBefore(until));
    if (!successor.version.equals(version)) {
      replaced.put(version, now.plus(IGNORE_REPLACED));
    }
  }

  /** Removes the copy, and lets the waiting requests fail. */
  void close() {
    CompletableFuture<Prepared> ended;
    synchronized (all) {
      copy = null;
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
