package com.authmaterial.client;

import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/**
 * The latest decoration of a credential, and the latest error. The monitor of `all` must be held,
 * except for {@link #usable}.
 */
final class Copy {
  private static final Duration MIN_REMEMBERED = Duration.ofSeconds(1);
  private static final Duration MAX_REMEMBERED = Duration.ofSeconds(30);

  /** A replica that does not know the successor of a rejected version could send the version. */
  private static final Duration IGNORE_REPLACED = Duration.ofMinutes(1);

  private static final Set<String> FINAL_REASONS =
      Set.of("CREDENTIAL_NOT_FOUND", "ACCESS_DENIED", "CREDENTIAL_REJECTED");

  private final Credentials all;
  private volatile Prepared latest; // or null
  private AuthmaterialException failure; // or null
  private Instant failedUntil = Instant.MIN;
  private final Map<String, Instant> ignored = new HashMap<>(); // versions, until when

  Copy(Credentials all) {
    this.all = all;
  }

  /** Returns the decoration, or null if there is none or it has expired. */
  Prepared usable(Instant now) {
    Prepared current = latest;
    return current == null || current.expired(now) ? null : current;
  }

  /** Returns the error with which requests fail at once, or null. */
  AuthmaterialException failure(Instant now) {
    return now.isBefore(failedUntil) ? failure : null;
  }

  /** Reports false if the decoration's version was rejected and replaced. */
  boolean replace(Prepared decoration) {
    Instant until = ignored.getOrDefault(decoration.version, Instant.MIN);
    if (all.closed || all.now().isBefore(until)) {
      return false;
    }
    latest = decoration;
    failure = null;
    failedUntil = Instant.MIN;
    return true;
  }

  /** Remembers an error, and removes the decoration if the error means that it must not be used. */
  void fail(AuthmaterialException failed) {
    if (FINAL_REASONS.contains(failed.reason())) {
      latest = null;
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

  /** Ignores a rejected version from now on, and its successor no longer. */
  void ignore(String version, String successor) {
    Instant now = all.now();
    ignored.values().removeIf(until -> !now.isBefore(until));
    ignored.put(version, now.plus(IGNORE_REPLACED));
    ignored.remove(successor);
  }

  void remove() {
    latest = null;
  }
}
