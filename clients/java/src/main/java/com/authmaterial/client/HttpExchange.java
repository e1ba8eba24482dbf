package com.authmaterial.client;

import com.authmaterial.v1.JsonCondition;
import java.io.IOException;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Redirect;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpResponse.BodySubscriber;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;

/**
 * A request of the program, with its redirects and its repetition. The future is completed with the
 * response.
 */
final class HttpExchange<T> extends Steps<HttpResponse<T>> {
  private final Credential credential;
  private final HttpClient base;
  private final Redirect redirect;
  private final BodyHandler<T> handler;

  /** Whether the thread that calls {@link #start} makes each step. */
  private final boolean blocking;

  private final long began = System.nanoTime();

  private HttpRequest request; // the current hop's, without material
  private HttpResponse<T> previous; // the redirect that led to the current hop, or null
  private int redirects;
  private boolean repeated;

  HttpExchange(
      Credential credential,
      HttpClient base,
      Redirect redirect,
      HttpRequest request,
      BodyHandler<T> handler,
      boolean blocking) {
    super(blocking);
    this.credential = credential;
    this.base = base;
    this.redirect = redirect;
    this.request = request;
    this.handler = handler;
    this.blocking = blocking;
  }

  /** Gets the material, and sends the request of the current hop. */
  void start() {
    Prepared material = credential.current(credential.now());
    if (material != null) {
      send(material);
      return;
    }
    // The copy of the future may be cancelled, or time out, without effect on other requests.
    await(limited(credential.get().copy()), this::send, unused -> {});
  }

  private void send(Prepared material) {
    try {
      Target target = HttpDecoration.target(request);
      boolean allowed = material.allows(target);
      if (!allowed && redirects == 0) {
        material.check(target);
      }
      HttpRequest.Builder sent =
          allowed
              ? HttpDecoration.decorate(request, material)
              : HttpDecoration.without(request, material);
      if (allowed) {
        credential.use(material, credential.now());
      }
      Duration left = left();
      if (left != null) {
        sent.timeout(left);
      }
      await(send(sent.build()), answer -> received(answer, material, allowed), this::discard);
    } catch (Exception e) {
      fail(e);
    }
  }

  /** Sends one request. A call that blocks needs fewer changes of threads. */
  private CompletableFuture<HttpResponse<Flow.Publisher<List<ByteBuffer>>>> send(HttpRequest sent)
      throws IOException, InterruptedException {
    return blocking
        ? CompletableFuture.completedFuture(base.send(sent, BodyHandlers.ofPublisher()))
        : base.sendAsync(sent, BodyHandlers.ofPublisher());
  }

  private void received(
      HttpResponse<Flow.Publisher<List<ByteBuffer>>> answer, Prepared material, boolean allowed) {
    if (!allowed || repeated) {
      follow(answer, material);
      return;
    }
    Rejection.Decision decision =
        material.rejection.decide(answer.statusCode(), answer.headers()::allValues);
    if (decision.rejected()) {
      rejected(answer, material);
    } else if (decision.undecided().isEmpty()) {
      follow(answer, material);
    } else {
      decide(answer, material, decision.undecided());
    }
  }

  /** Reads the body, or its beginning, to find out whether it is a rejection. */
  private void decide(
      HttpResponse<Flow.Publisher<List<ByteBuffer>>> answer,
      Prepared material,
      List<JsonCondition> conditions) {
    PeekedBody body = new PeekedBody(answer.body());
    HttpResponse<Flow.Publisher<List<ByteBuffer>>> peeked =
        new MaterialResponse<>(answer, answer.request(), answer.headers(), null, body);
    await(
        limited(body.start),
        start -> {
          if (Rejection.matches(start, conditions)) {
            rejected(peeked, material);
          } else {
            follow(peeked, material);
          }
        },
        unused -> body.cancel());
  }

  private void rejected(HttpResponse<Flow.Publisher<List<ByteBuffer>>> answer, Prepared material) {
    CompletableFuture<Prepared> report = credential.reports.reject(material, answer.statusCode());
    await(
        report.copy(),
        successor -> {
          boolean again = successor != null && Bodies.repeatable(request);
          if (again && successor.allows(HttpDecoration.target(request))) {
            repeated = true;
            discard(answer);
            send(successor);
          } else {
            finish(answer, HttpDecoration.headers(answer, request, material));
          }
        },
        unused -> discard(answer));
  }

  /** Follows a redirect, or passes the response on. */
  private void follow(HttpResponse<Flow.Publisher<List<ByteBuffer>>> answer, Prepared material) {
    HttpHeaders headers = HttpDecoration.headers(answer, request, material);
    String location = headers.firstValue("Location").orElse(null);
    HttpRequest next =
        redirects < Redirects.LIMIT
            ? Redirects.next(redirect, request, answer.statusCode(), location)
            : null;
    if (next == null) {
      finish(answer, headers);
      return;
    }
    discard(answer);
    previous = new MaterialResponse<>(answer, request, headers, previous, null);
    request = next;
    redirects++;
    start();
  }

  /** Gives the body to the program's handler. */
  private void finish(HttpResponse<Flow.Publisher<List<ByteBuffer>>> answer, HttpHeaders headers) {
    BodySubscriber<T> subscriber;
    try {
      subscriber =
          handler.apply(new MaterialResponse.Info(answer.statusCode(), headers, answer.version()));
    } catch (RuntimeException | Error e) {
      discard(answer);
      throw e;
    }
    Bodies.Cancellable body = new Bodies.Cancellable(subscriber);
    whenComplete(
        (response, error) -> {
          if (error != null) {
            body.cancel();
          }
        });
    answer.body().subscribe(body);
    await(
        subscriber.getBody().toCompletableFuture(),
        value -> succeed(new MaterialResponse<>(answer, request, headers, previous, value)),
        unused -> {});
  }

  private void discard(HttpResponse<Flow.Publisher<List<ByteBuffer>>> answer) {
    if (answer != null) {
      Bodies.discard(answer.body());
    }
  }

  /** Returns what is left of the request's timeout, or null if it has none. */
  private Duration left() {
    Duration passed = Duration.ofNanos(System.nanoTime() - began);
    return request
        .timeout()
        .map(timeout -> timeout.minus(passed))
        .map(left -> left.compareTo(Duration.ofMillis(1)) < 0 ? Duration.ofMillis(1) : left)
        .orElse(null);
  }

  private <V> CompletableFuture<V> limited(CompletableFuture<V> future) {
    Duration left = left();
    return left == null ? future : future.orTimeout(left.toMillis(), TimeUnit.MILLISECONDS);
  }
}
