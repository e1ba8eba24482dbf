package com.authmaterial.client;

import com.authmaterial.v1.BrokerServiceGrpc.BrokerServiceStub;
import com.authmaterial.v1.WatchAuthDecorationsRequest;
import com.authmaterial.v1.WatchAuthDecorationsResponse;
import io.grpc.ConnectivityState;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** Watches some credentials, by a stream that it opens again whenever the stream ends. */
final class WatchStream {
  private static final Duration FIRST_DELAY = Duration.ofMillis(200);
  private static final Duration MAX_DELAY = Duration.ofSeconds(30);
  private static final double JITTER = 0.2;

  /** The time after which a credential that no request uses is not watched any more. */
  private static final Duration IDLE = Duration.ofHours(1);

  private static final long CONNECT_SECONDS = 5;

  private final Credentials all;

  // The monitor of `all` guards the fields below.
  List<Credential> credentials = new ArrayList<>();
  private WatchStream replaces; // ends when this one has delivered each state
  private boolean complete; // the stream works, and has delivered the state of each credential
  private boolean stopped;
  private Attempt attempt;
  private Duration delay = FIRST_DELAY;

  WatchStream(Credentials all) {
    this.all = all;
  }

  /**
   * Takes over the credentials of an older stream, which continues until the new one is complete.
   * If the older stream is not complete itself, it ends at once.
   */
  void replace(WatchStream older) {
    credentials = new ArrayList<>(older.credentials);
    replaces = older;
    if (!older.complete) {
      replaces = older.replaces;
      older.replaces = null;
      older.stop();
    }
  }

  /** Ends the stream. The monitor must be held. */
  void stop() {
    stopped = true;
    if (attempt != null) {
      attempt.cancel();
    }
    if (replaces != null) {
      replaces.stop();
    }
  }

  void open() {
    Attempt opened;
    synchronized (all) {
      if (stopped || !dropIdle()) {
        return;
      }
      opened = new Attempt(credentials);
      attempt = opened;
    }
    Context.ROOT.run(opened::start);
  }

  private void ended(Attempt ended) {
    Duration pause;
    synchronized (all) {
      complete = false;
      ended.delivered.values().forEach(Credential::streamEnded);
      if (stopped) {
        return;
      }
      boolean delivered = !ended.delivered.isEmpty();
      pause = delivered ? FIRST_DELAY : delay;
      delay = pause;
      if (!delivered) {
        delay = delay.compareTo(MAX_DELAY.dividedBy(2)) < 0 ? delay.multipliedBy(2) : MAX_DELAY;
      }
    }
    double factor = 1 + ThreadLocalRandom.current().nextDouble(-JITTER, JITTER);
    all.scheduler.schedule(this::open, (long) (pause.toNanos() * factor), TimeUnit.NANOSECONDS);
  }

  /** Drops the credentials that no request has used for long. Reports whether some are left. */
  private boolean dropIdle() {
    int index = all.streams.indexOf(this);
    if (index < 0) {
      return true; // the stream's successor watches its credentials too
    }
    Instant now = all.now();
    Predicate<Credential> idle = c -> Duration.between(c.lastUse, now).compareTo(IDLE) >= 0;
    List<Credential> kept = new ArrayList<>();
    for (Credential credential : credentials) {
      credential.watched = !idle.test(credential);
      if (credential.watched) {
        kept.add(credential);
      }
    }
    credentials = kept;
    if (kept.isEmpty()) {
      all.streams.remove(index);
      stop();
    }
    return !kept.isEmpty();
  }

  /** One stream, from its start to its end. */
  private final class Attempt
      implements ClientResponseObserver<WatchAuthDecorationsRequest, WatchAuthDecorationsResponse> {
    private final Map<String, Credential> waiting = new HashMap<>();
    private final Map<String, Credential> delivered = new HashMap<>();
    private ClientCallStreamObserver<WatchAuthDecorationsRequest> starting;
    private ClientCallStreamObserver<WatchAuthDecorationsRequest> call; // null until it has started
    private volatile Future<?> connecting;

    Attempt(List<Credential> watched) {
      watched.forEach(credential -> waiting.put(credential.id, credential));
    }

    void start() {
      WatchAuthDecorationsRequest request =
          WatchAuthDecorationsRequest.newBuilder().addAllCredentialIds(ids()).build();
      BrokerServiceStub stub = all.connection.stub().withWaitForReady();
      ManagedChannel channel = (ManagedChannel) stub.getChannel();
      connecting =
          all.scheduler.schedule(() -> connect(channel), CONNECT_SECONDS, TimeUnit.SECONDS);
      stub.watchAuthDecorations(request, this);
      synchronized (all) {
        call = starting; // gRPC throws if a call is cancelled before it has started
        if (stopped) {
          cancel();
        }
      }
    }

    private List<String> ids() {
      synchronized (all) {
        return List.copyOf(waiting.keySet());
      }
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<WatchAuthDecorationsRequest> stream) {
      starting = stream;
    }

    /** Ends the attempt if there is no connection. */
    private void connect(ManagedChannel channel) {
      if (channel.getState(false) != ConnectivityState.READY) {
        synchronized (all) {
          cancel();
        }
      }
    }

    /** The monitor must be held. */
    void cancel() {
      if (call != null) {
        call.cancel("the client has ended the stream", null);
      }
    }

    @Override
    public void onNext(WatchAuthDecorationsResponse state) {
      Credential credential = first(state.getCredentialId());
      if (credential != null) {
        credential.deliver(state);
        endOlder();
      }
    }

    /** Returns the credential of a state, and counts the stream if the state is its first one. */
    private Credential first(String id) {
      synchronized (all) {
        Credential known = delivered.get(id);
        if (known == null && waiting.containsKey(id)) {
          known = waiting.remove(id);
          delivered.put(id, known);
          known.streamWorks();
        }
        return known;
      }
    }

    private void endOlder() {
      synchronized (all) {
        if (!waiting.isEmpty()) {
          return;
        }
        complete = true;
        if (replaces != null) {
          replaces.stop();
          replaces = null;
        }
      }
    }

    @Override
    public void onError(Throwable error) {
      end();
    }

    @Override
    public void onCompleted() {
      end();
    }

    private void end() {
      synchronized (all) {
        attempt = null;
      }
      connecting.cancel(false);
      ended(this);
    }
  }
}
