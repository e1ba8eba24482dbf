package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.GetAuthDecorationResponse;
import com.authmaterial.v1.ReportRejectionResponse;
import com.authmaterial.v1.ReportRejectionResponse.Outcome;
import com.authmaterial.v1.WatchAuthDecorationsResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
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

  private static final Duration REPEAT_REPORT = Duration.ofMinutes(1);
  private static final Duration MIN_REPORT_DELAY = Duration.ofSeconds(1);
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
  private final Map<String, Report> reports = new HashMap<>(); // by version

  /** A report for which requests wait. The version is not reported again before `until`. */
  private static final class Report {
    final CompletableFuture<Prepared> successor = new CompletableFuture<>();
    Instant until = Instant.MIN;
  }

  Credential(Credentials all, String id) {
    this.all = all;
    this.id = id;
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

  private Prepared prepare(AuthDecoration decoration, Throwable error)
      throws AuthmaterialException {
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
  private boolean install(Prepared decoration) {
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
    failure = failed;
    failedUntil = all.now().plus(min(max(delay, MIN_REMEMBERED), MAX_REMEMBERED));
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

  void streamWorks() {
    live.incrementAndGet();
  }

  void streamEnded() {
    live.decrementAndGet();
  }

  /**
   * Processes a provider's rejection of a decoration.
   *
   * @return the decoration with which the request can be repeated, or null
   */
  CompletableFuture<Prepared> reject(Prepared rejected, int httpStatus) {
    Report report;
    synchronized (all) {
      if (all.closed) {
        return CompletableFuture.completedFuture(null);
      }
      Instant now = all.now();
      Prepared current = copy;
      boolean other = current != null && !current.version.equals(rejected.version);
      if (other && !current.expired(now)) {
        return CompletableFuture.completedFuture(current);
      }
      reports.values().removeIf(old -> old.successor.isDone() && !now.isBefore(old.until));
      report = reports.get(rejected.version);
      if (report != null) {
        return report.successor;
      }
      report = new Report();
      reports.put(rejected.version, report);
    }
    Report made = report;
    all.calls
        .report(id, rejected.version, httpStatus)
        .whenComplete((response, error) -> reported(made, rejected.version, response, error));
    return made.successor;
  }

  private void reported(
      Report made, String version, ReportRejectionResponse response, Throwable error) {
    Prepared successor = null;
    try {
      Prepared answer = prepare(response == null ? null : response.getAuthDecoration(), error);
      boolean repeat =
          response.getOutcome() == Outcome.OUTCOME_REPLACED
              || response.getOutcome() == Outcome.OUTCOME_ALREADY_REPLACED;
      synchronized (all) {
        Instant now = all.now();
        if (repeat) {
          successor = answer;
          ignore(version, answer, now);
        } else {
          made.until = now.plus(REPEAT_REPORT);
        }
        install(answer);
      }
    } catch (AuthmaterialException failed) {
      synchronized (all) {
        Duration delay = failed.retryDelay().orElse(Duration.ZERO);
        made.until = all.now().plus(max(delay, MIN_REPORT_DELAY));
      }
    }
    made.successor.complete(successor);
  }

  /** Makes `install` ignore a version that has a successor. */
  private void ignore(String version, Prepared successor, Instant now) {
    replaced.values().removeIf(until -> !now.isBefore(until));
    if (!successor.version.equals(version)) {
      replaced.put(version, now.plus(IGNORE_REPLACED));
    }
  }

  /** Removes the copy, and lets the waiting requests fail. */
  void close() {
    List<CompletableFuture<Prepared>> successors = new ArrayList<>();
    CompletableFuture<Prepared> ended;
    synchronized (all) {
      copy = null;
      ended = call;
      call = null;
      reports.values().forEach(report -> successors.add(report.successor));
    }
    if (ended != null) {
      ended.completeExceptionally(AuthmaterialException.closed(id));
    }
    successors.forEach(successor -> successor.complete(null));
  }

  private static Duration max(Duration a, Duration b) {
    return a.compareTo(b) > 0 ? a : b;
  }

  private static Duration min(Duration a, Duration b) {
    return a.compareTo(b) < 0 ? a : b;
  }

  @Override
  public String toString() {
    return "credential " + id;
  }
}
