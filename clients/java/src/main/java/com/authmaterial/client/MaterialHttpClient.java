package com.authmaterial.client;

import java.io.IOException;
import java.net.Authenticator;
import java.net.CookieHandler;
import java.net.ProxySelector;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.PushPromiseHandler;
import java.time.Duration;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;

/** Adds material to the requests of an HttpClient that follows no redirects itself. */
final class MaterialHttpClient extends HttpClient {
  private final Credential credential;
  private final HttpClient base;
  private final Redirect redirect;

  private MaterialHttpClient(Credential credential, HttpClient base, Redirect redirect) {
    this.credential = credential;
    this.base = base;
    this.redirect = redirect;
  }

  /** Builds two clients, because only a client shows the builder's setting for redirects. */
  static MaterialHttpClient of(Credential credential, HttpClient.Builder builder) {
    HttpClient base = builder.build();
    Redirect redirect = base.followRedirects();
    if (redirect != Redirect.NEVER) {
      base = builder.followRedirects(Redirect.NEVER).build();
    }
    return new MaterialHttpClient(credential, base, redirect);
  }

  @Override
  public <T> HttpResponse<T> send(HttpRequest request, BodyHandler<T> handler)
      throws IOException, InterruptedException {
    HttpExchange<T> exchange = exchange(request, handler, true);
    exchange.start();
    try {
      return exchange.get();
    } catch (ExecutionException e) {
      throw unwrap(e.getCause());
    }
  }

  private <T> HttpExchange<T> exchange(
      HttpRequest request, BodyHandler<T> handler, boolean blocking) {
    Objects.requireNonNull(request);
    Objects.requireNonNull(handler);
    return new HttpExchange<>(credential, base, redirect, request, handler, blocking);
  }

  /** Returns the error that `send` throws, with the stack of the current thread if possible. */
  private static IOException unwrap(Throwable cause) throws InterruptedException {
    if (cause instanceof InterruptedException interrupted) {
      throw interrupted;
    }
    if (cause instanceof AuthmaterialException failed) {
      return failed.again();
    }
    if (cause instanceof IOException failed) {
      return failed;
    }
    if (cause instanceof RuntimeException failed) {
      throw failed;
    }
    if (cause instanceof Error failed) {
      throw failed;
    }
    return new IOException(cause);
  }

  @Override
  public <T> CompletableFuture<HttpResponse<T>> sendAsync(
      HttpRequest request, BodyHandler<T> handler) {
    HttpExchange<T> exchange = exchange(request, handler, false);
    exchange.start();
    return exchange;
  }

  @Override
  public <T> CompletableFuture<HttpResponse<T>> sendAsync(
      HttpRequest request, BodyHandler<T> handler, PushPromiseHandler<T> pushes) {
    if (pushes != null) {
      throw new UnsupportedOperationException("HTTP/2 pushes");
    }
    return sendAsync(request, handler);
  }

  @Override
  public Optional<CookieHandler> cookieHandler() {
    return base.cookieHandler();
  }

  @Override
  public Optional<Duration> connectTimeout() {
    return base.connectTimeout();
  }

  @Override
  public Redirect followRedirects() {
    return redirect;
  }

  @Override
  public Optional<ProxySelector> proxy() {
    return base.proxy();
  }

  @Override
  public SSLContext sslContext() {
    return base.sslContext();
  }

  @Override
  public SSLParameters sslParameters() {
    return base.sslParameters();
  }

  @Override
  public Optional<Authenticator> authenticator() {
    return base.authenticator();
  }

  @Override
  public Version version() {
    return base.version();
  }

  @Override
  public Optional<Executor> executor() {
    return base.executor();
  }

  @Override
  public String toString() {
    return "HttpClient for " + credential;
  }
}
