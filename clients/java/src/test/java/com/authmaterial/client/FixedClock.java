package com.authmaterial.client;

import java.time.Clock;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;

/** A clock that stands still until it is set. With 0, it is the system's clock. */
final class FixedClock extends Clock {
  private volatile Instant now;

  void set(double seconds) {
    now = seconds == 0 ? null : Instant.ofEpochSecond(0, Math.round(seconds * 1e6) * 1000);
  }

  @Override
  public Instant instant() {
    Instant fixed = now;
    return fixed == null ? Instant.now() : fixed;
  }

  @Override
  public ZoneId getZone() {
    return ZoneOffset.UTC;
  }

  @Override
  public Clock withZone(ZoneId zone) {
    return this;
  }
}
