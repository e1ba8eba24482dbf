package com.authmaterial.client;

import com.authmaterial.v1.ReportRejectionResponse;
import com.authmaterial.v1.ReportRejectionResponse.Outcome;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** The reports of rejected versions of one credential. The monitor of `all` guards the fields. */
final class Reports {
  private static final Duration REPEAT = Duration.ofMinutes(1);
  private static final Duration MIN_DELAY = Duration.ofSeconds(1);

  private final Credentials all;
  private final Credential credential;
  private final Map<String, Report> reports = new HashMap<>(); // by version

  /** A report for which requests wait. The version is not reported again before `until`. */
  private static final class Report {
    final CompletableFuture<Prepared> successor = new CompletableFuture<>();
    Instant until = Instant.MIN;
  }

  Reports(Credentials all, Credential credential) {
    this.all = all;
    this.credential = credential;
  }

  /**
   * Processes a provider's rejection of a decoration. A report that fails is not an error of the
   * request, because the provider's response is more useful to the program.
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
      Prepared current = credential.copy.usable(now);
      if (current != null && !current.version.equals(rejected.version)) {
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
        .report(credential.id, rejected.version, httpStatus)
        .whenComplete((response, error) -> end(made, rejected.version, response, error));
    return made.successor;
  }

  private void end(Report made, String version, ReportRejectionResponse response, Throwable error) {
    Prepared successor = null;
    try {
      Prepared answer =
          credential.prepare(response == null ? null : response.getAuthDecoration(), error);
      boolean repeat =
          response.getOutcome() == Outcome.OUTCOME_REPLACED
              || response.getOutcome() == Outcome.OUTCOME_ALREADY_REPLACED;
      synchronized (all) {
        if (repeat) {
          successor = answer;
          if (!answer.version.equals(version)) {
            credential.copy.ignore(version, answer.version);
          }
        } else {
          made.until = all.now().plus(REPEAT);
        }
        credential.copy.replace(answer);
      }
    } catch (AuthmaterialException failed) {
      Duration delay = failed.retryDelay().orElse(Duration.ZERO);
      synchronized (all) {
        made.until = all.now().plus(delay.compareTo(MIN_DELAY) > 0 ? delay : MIN_DELAY);
      }
    }
    made.successor.complete(successor);
  }

  /** Lets the waiting requests continue without a successor. */
  void close() {
    List<Report> waiting;
    synchronized (all) {
      waiting = new ArrayList<>(reports.values());
    }
    waiting.forEach(report -> report.successor.complete(null));
  }
}
