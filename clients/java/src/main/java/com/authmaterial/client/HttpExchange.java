package com.authmaterial.client;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Redirect;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpResponse.BodySubscriber;
import java.net.http.HttpTimeoutException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/**
 * A request of the program, with its redirects and its repetition. The future is completed with the
 * response. The methods run one after the other, in the threads that complete the steps.
 */
final class HttpExchange<T> extends CompletableFuture<HttpResponse<T>> {
  private final Credential credential;
  private final HttpClient base;
  private final Redirect redirect;
  private final BodyHandler<T> handler;

  /** Whether each step is made, and waited for, by the thread that calls {@link #start}. */
  private final boolean blocking;

  private final long began = System.nanoTime();

  private HttpRequest request; // the current hop's, without material
  private HttpResponse<T> previous; // the redirect that led to the current hop, or null
  private int redirects;
  private boolean repeated;

  /** What the exchange waits for, which is cancelled with it. */
  private volatile CompletableFuture<?> step;

  HttpExchange(
      Credential credential,
      HttpClient base,
      Redirect redirect,
      HttpRequest request,
      BodyHandler<T> handler,
      boolean blocking) {
    this.credential = credential;
    this.base = base;
    this.redirect = redirect;
    this.request = request;
    this.handler = handler;
    this.blocking = blocking;
  }

  @Override
  public boolean cancel(boolean mayInterrupt) {
    boolean cancelled = super.cancel(mayInterrupt);
    CompletableFuture<?> current = step;
    if (current != null) {
      current.cancel(mayInterrupt);
    }
    return cancelled;
  }

  /** Gets the material, and sends the request of the current hop. */
  void start() {
    Prepared material = credential.copy(credential.now());
    if (material != null) {
      send(material);
      return;
    }
    // The copy of the future may be cancelled, or time out, without effect on other requests.
    await(limited(credential.get().copy()), this::send);
  }

  private void send(Prepared material) {
    try {
      Target target = target(request);
      boolean allowed = material.allows(target);
      if (!allowed && redirects == 0) {
        material.check(target);
      }
      HttpRequest.Builder sent = allowed ? decorate(request, material) : without(request, material);
      if (allowed) {
        credential.use(material, credential.now());
      }
      Duration left = left();
      if (left != null) {
        sent.timeout(left);
      }
      await(send(sent.build()), answer -> received(answer, material, allowed));
    } catch (Exception e) {
      completeExceptionally(e);
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
    if (!allowed || repeated || !material.rejectedBy(answer.statusCode())) {
      follow(answer, material);
      return;
    }
    CompletableFuture<Prepared> report = credential.reports.reject(material, answer.statusCode());
    await(
        report.copy(),
        successor -> {
          boolean again = successor != null && Bodies.repeatable(request);
          if (again && successor.allows(target(request))) {
            repeated = true;
            Bodies.discard(answer.body());
            send(successor);
          } else {
            finish(answer, headers(answer, material));
          }
        });
  }

  /** Follows a redirect, or passes the response on. */
  private void follow(HttpResponse<Flow.Publisher<List<ByteBuffer>>> answer, Prepared material) {
    HttpHeaders headers = headers(answer, material);
    String location = headers.firstValue("Location").orElse(null);
    HttpRequest next =
        redirects < Redirects.LIMIT
            ? Redirects.next(redirect, request, answer.statusCode(), location)
            : null;
    if (next == null) {
      finish(answer, headers);
      return;
    }
    Bodies.discard(answer.body());
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
      Bodies.discard(answer.body());
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
        value -> complete(new MaterialResponse<>(answer, request, headers, previous, value)));
  }

  /** Continues when a step has ended, and fails if the step or the continuation fails. */
  private <V> void await(CompletableFuture<V> awaited, Consumer<V> next) {
    step = awaited;
    if (isCancelled()) {
      awaited.cancel(true);
    }
    if (blocking) {
      block(awaited);
    }
    awaited.whenComplete(
        (value, error) -> {
          if (error != null) {
            completeExceptionally(cause(error));
          } else if (!isDone()) {
            proceed(next, value);
          }
        });
  }

  private <V> void proceed(Consumer<V> next, V value) {
    try {
      next.accept(value);
    } catch (RuntimeException | Error e) {
      completeExceptionally(e);
    }
  }

  /** Waits until a step has ended, with whatever result. */
  private void block(CompletableFuture<?> awaited) {
    try {
      awaited.get();
    } catch (InterruptedException e) {
      completeExceptionally(e);
      awaited.cancel(true);
    } catch (ExecutionException | CancellationException e) {
      return; // the exchange fails with the error of the step
    }
  }

  private static Throwable cause(Throwable error) {
    Throwable cause =
        error instanceof CompletionException && error.getCause() != null ? error.getCause() : error;
    return cause instanceof TimeoutException
        ? new HttpTimeoutException("request timed out")
        : cause;
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

  private static Target target(HttpRequest request) {
    return Target.of(request.uri(), request.headers().allValues("Host"));
  }

  /** Returns a copy of a request with the material. */
  static HttpRequest.Builder decorate(HttpRequest request, Prepared material) {
    HttpRequest.Builder decorated =
        HttpRequest.newBuilder(request, (name, value) -> !material.replaces(name));
    material.headers.forEach(header -> decorated.setHeader(header.getName(), header.getValue()));
    if (!material.query.isEmpty()) {
      decorated.uri(decorate(request.uri(), material));
    }
    return decorated;
  }

  private static URI decorate(URI url, Prepared material) {
    String path = url.getRawPath().isEmpty() ? "/" : url.getRawPath();
    String query = Query.replace(url.getRawQuery(), material);
    String fragment = url.getRawFragment() == null ? "" : "#" + url.getRawFragment();
    return URI.create(
        url.getScheme() + "://" + url.getRawAuthority() + path + "?" + query + fragment);
  }

  private static HttpRequest.Builder without(HttpRequest request, Prepared material) {
    return HttpRequest.newBuilder(request, (name, value) -> !material.replaces(name));
  }

  /** Returns the headers of a response without material in the header Location. */
  private HttpHeaders headers(HttpResponse<?> answer, Prepared material) {
    HttpHeaders headers = answer.headers();
    List<String> locations = headers.allValues("Location");
    if (locations.isEmpty()) {
      return headers;
    }
    List<String> cleaned =
        locations.stream()
            .map(location -> Location.clean(location, request.uri().toString(), material))
            .toList();
    if (cleaned.equals(locations)) {
      return headers;
    }
    Map<String, List<String>> changed = new HashMap<>(headers.map());
    changed.keySet().removeIf("Location"::equalsIgnoreCase);
    if (!cleaned.contains(null)) {
      changed.put("location", cleaned);
    }
    return HttpHeaders.of(changed, (name, value) -> true);
  }
}
