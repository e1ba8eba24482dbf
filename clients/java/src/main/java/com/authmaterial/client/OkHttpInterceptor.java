package com.authmaterial.client;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import okhttp3.Call;
import okhttp3.HttpUrl;
import okhttp3.Interceptor;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

/**
 * The application interceptor. It gets the material, which it gives to the network interceptor as a
 * tag of the request, and processes rejections.
 */
final class OkHttpInterceptor implements Interceptor {
  /** How often a request that waits for the broker checks whether its call was cancelled. */
  private static final long POLL_MILLIS = 100;

  private final Credential credential;

  OkHttpInterceptor(Credential credential) {
    this.credential = credential;
  }

  /** What the network interceptor does with the material. */
  static final class Attempt {
    final Prepared material;
    volatile boolean seen; // the network interceptor has run
    volatile boolean decorated; // the latest hop has the material

    Attempt(Prepared material) {
      this.material = material;
    }

    @Override
    public String toString() {
      return material.toString();
    }
  }

  @Override
  public Response intercept(Chain chain) throws IOException {
    Request request = chain.request();
    if ("websocket".equalsIgnoreCase(request.header("Upgrade"))) {
      throw new IOException("WebSockets are not supported with the material of a credential");
    }
    Prepared material = credential.current(credential.now());
    if (material == null) {
      material = await(credential.get(), chain.call());
    }
    material.check(target(request));
    Attempt attempt = new Attempt(material);
    Response response = send(chain, request, attempt);
    if (!attempt.decorated || !isRejection(response, material)) {
      return own(response, request);
    }
    Prepared successor;
    try {
      successor = await(credential.reports.reject(material, response.code()), chain.call());
    } catch (IOException e) {
      response.close();
      throw e;
    }
    Request last = response.request(); // after redirects, not the program's request
    if (successor == null || !repeatable(last.body()) || !successor.allows(target(last))) {
      return own(response, request);
    }
    response.close();
    return own(send(chain, last, new Attempt(successor)), request);
  }

  /** Reports whether the provider rejects the material. The program can still read the body. */
  private static boolean isRejection(Response response, Prepared material) {
    Rejection.Decision decision = material.rejection.decide(response.code(), response::headers);
    if (decision.undecided().isEmpty()) {
      return decision.rejected();
    }
    try {
      byte[] start = response.peekBody(Rejection.MAX_BODY + 1).bytes();
      return Rejection.matches(start, decision.undecided());
    } catch (IOException e) {
      return false; // the program gets the error when it reads the body
    }
  }

  private Response send(Chain chain, Request request, Attempt attempt) throws IOException {
    credential.use(attempt.material, credential.now());
    Request tagged = request.newBuilder().tag(Attempt.class, attempt).build();
    Response response = chain.proceed(tagged);
    if (response.networkResponse() != null && !attempt.seen) {
      response.close();
      throw new IllegalStateException(
          "the network interceptor is missing: use OkHttpAdapter.install for this client");
    }
    return response;
  }

  /** Returns a response that refers to the program's request. */
  private static Response own(Response response, Request request) {
    Request last = response.request();
    boolean redirected = !last.url().equals(request.url());
    return response
        .newBuilder()
        .request(redirected ? last.newBuilder().tag(Attempt.class, null).build() : request)
        .build();
  }

  private static boolean repeatable(RequestBody body) {
    return body == null || !body.isOneShot() && !body.isDuplex();
  }

  static Target target(Request request) {
    HttpUrl url = request.url();
    return Target.of(url.scheme(), url.host(), url.port(), request.headers("Host"));
  }

  private static Prepared await(CompletableFuture<Prepared> future, Call call) throws IOException {
    while (true) {
      try {
        return future.get(POLL_MILLIS, TimeUnit.MILLISECONDS);
      } catch (TimeoutException e) {
        if (call.isCanceled()) {
          throw new IOException("Canceled", e);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw (IOException) new InterruptedIOException("interrupted").initCause(e);
      } catch (ExecutionException e) {
        if (e.getCause() instanceof AuthmaterialException failed) {
          throw failed.again();
        }
        throw new IOException(e.getCause());
      }
    }
  }

  @Override
  public String toString() {
    return "interceptor for " + credential;
  }
}
