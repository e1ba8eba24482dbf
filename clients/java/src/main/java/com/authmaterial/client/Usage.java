package com.authmaterial.client;

import com.authmaterial.v1.ReportUsageRequest;
import com.authmaterial.v1.ReportUsageResponse;
import com.authmaterial.v1.VersionUse;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The versions whose uses are reported once a minute. The monitor of `all` guards the fields. */
final class Usage {
  private static final Duration INTERVAL = Duration.ofMinutes(1);
  private static final Duration TIMEOUT = Duration.ofSeconds(10);
  private static final Duration LAST_TIMEOUT = Duration.ofSeconds(2);

  /** The largest number of uses in a call. */
  private static final int MAX_USES = 100;

  /** The largest number of uses that are reported again after a failure. */
  private static final int MAX_REPEATED = 1000;

  private final Credentials all;
  private Set<VersionUse> uses = new LinkedHashSet<>();
  private Instant due; // the time of the report, by the client's clock
  private Future<?> timer; // reports if no request does it
  private boolean unsupported; // the broker does not have the method ReportUsage

  Usage(Credentials all) {
    this.all = all;
  }

  void record(Credential credential, Prepared sent, Instant now) {
    List<VersionUse> taken;
    synchronized (all) {
      if (all.closed) {
        return;
      }
      credential.lastUse = now;
      if (unsupported) {
        sent.nextUse = now.plus(INTERVAL).getEpochSecond(); // for lastUse
        return;
      }
      taken = takeDue(now);
      VersionUse use =
          VersionUse.newBuilder().setCredentialId(credential.id).setVersion(sent.version).build();
      add(List.of(use), now);
      sent.nextUse = due.getEpochSecond();
    }
    report(taken);
  }

  private void add(Collection<VersionUse> more, Instant now) {
    if (uses.isEmpty()) {
      due = now.plus(INTERVAL);
      timer = all.scheduler.schedule(this::reportDue, INTERVAL.toMillis(), TimeUnit.MILLISECONDS);
    }
    uses.addAll(more);
  }

  private void reportDue() {
    List<VersionUse> taken;
    synchronized (all) {
      taken = takeDue(all.now());
    }
    report(taken);
  }

  private List<VersionUse> takeDue(Instant now) {
    return all.closed || uses.isEmpty() || now.isBefore(due) ? List.of() : take();
  }

  private List<VersionUse> take() {
    List<VersionUse> taken = List.copyOf(uses);
    uses = new LinkedHashSet<>();
    if (timer != null) {
      timer.cancel(false);
    }
    return taken;
  }

  private void report(List<VersionUse> taken) {
    call(taken, TIMEOUT)
        .whenComplete(
            (done, error) -> {
              if (error != null) {
                failed(taken, error);
              }
            });
  }

  private void failed(List<VersionUse> taken, Throwable error) {
    Throwable cause = error.getCause() == null ? error : error.getCause();
    synchronized (all) {
      if (Status.fromThrowable(cause).getCode() == Status.Code.UNIMPLEMENTED) {
        unsupported = true;
      } else if (!all.closed) {
        add(taken.subList(0, Math.min(taken.size(), MAX_REPEATED)), all.now());
      }
    }
  }

  private CompletableFuture<Void> call(List<VersionUse> taken, Duration timeout) {
    List<CompletableFuture<ReportUsageResponse>> calls = new ArrayList<>();
    for (int i = 0; i < taken.size(); i += MAX_USES) {
      List<VersionUse> some = taken.subList(i, Math.min(i + MAX_USES, taken.size()));
      calls.add(all.calls.usage(ReportUsageRequest.newBuilder().addAllUses(some).build(), timeout));
    }
    return CompletableFuture.allOf(calls.toArray(CompletableFuture[]::new));
  }

  /** Reports the uses that are not reported yet, when the client is closed. */
  void reportLast() {
    List<VersionUse> taken;
    synchronized (all) {
      taken = unsupported ? List.of() : take();
    }
    try {
      call(taken, LAST_TIMEOUT).get(LAST_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (ExecutionException | TimeoutException e) {
      return; // nobody can do anything about it
    }
  }
}
