package com.authmaterial.client;

import java.io.IOException;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** All credentials of a client, with the streams that watch them. */
final class Credentials {
  private static final int MAX_WATCHED = 100;

  /** The time between the first new credential and its stream, which several can join. */
  private static final long GATHER_MILLIS = 100;

  final Clock clock;
  final ScheduledExecutorService scheduler = newScheduler();
  final Connection connection;
  final Calls calls;
  final Usage usage = new Usage(this);

  // The monitor of this object guards the fields below, and the fields of Credential, WatchStream
  // and Usage that are not volatile. A request takes it only if its copy of the material cannot be
  // used as it is, and once a minute to record the use. Futures are never completed under it.
  boolean closed;
  final List<WatchStream> streams = new ArrayList<>();
  private final Map<String, Credential> credentials = new HashMap<>();
  private final Deque<Credential> unwatched = new ArrayDeque<>();

  Credentials(Settings settings) throws IOException {
    clock = settings.clock();
    connection = new Connection(settings, scheduler);
    calls = new Calls(connection, scheduler);
  }

  private static ScheduledExecutorService newScheduler() {
    ScheduledThreadPoolExecutor scheduler =
        new ScheduledThreadPoolExecutor(
            1,
            task -> {
              Thread thread = new Thread(task, "authmaterial-client");
              thread.setDaemon(true);
              return thread;
            },
            new ScheduledThreadPoolExecutor.DiscardPolicy()); // tasks after close
    scheduler.setRemoveOnCancelPolicy(true);
    return scheduler;
  }

  Instant now() {
    return clock.instant();
  }

  synchronized Credential credential(String id) {
    return credentials.computeIfAbsent(
        Objects.requireNonNull(id, "credentialId"), key -> new Credential(this, key));
  }

  /** Makes a stream watch the credential soon. */
  void watch(Credential credential) {
    unwatched.add(credential);
    if (unwatched.size() == 1) {
      scheduler.schedule(this::openStreams, GATHER_MILLIS, TimeUnit.MILLISECONDS);
    }
  }

  /**
   * Opens streams for the new credentials. A stream that has room for more credentials is replaced
   * by one with its credentials and new ones.
   */
  private void openStreams() {
    List<WatchStream> opened = new ArrayList<>();
    synchronized (this) {
      while (!unwatched.isEmpty() && !closed) {
        WatchStream stream = new WatchStream(this);
        WatchStream older = withRoom();
        if (older == null) {
          streams.add(stream);
        } else {
          stream.replace(older);
          streams.set(streams.indexOf(older), stream);
        }
        while (stream.credentials.size() < MAX_WATCHED && !unwatched.isEmpty()) {
          stream.credentials.add(unwatched.remove());
        }
        opened.add(stream);
      }
    }
    opened.forEach(WatchStream::open);
  }

  private WatchStream withRoom() {
    for (WatchStream stream : streams) {
      if (stream.credentials.size() < MAX_WATCHED) {
        return stream;
      }
    }
    return null;
  }

  void close() {
    List<Credential> all;
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
      all = List.copyOf(credentials.values());
      streams.forEach(WatchStream::stop);
    }
    all.forEach(Credential::close);
    usage.reportLast();
    scheduler.shutdownNow();
    connection.close();
  }
}
