package com.authmaterial.client;

import java.net.URI;
import java.net.http.HttpClient.Version;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Optional;
import javax.net.ssl.SSLSession;

/** A response that refers to the program's request, which has no material. */
final class MaterialResponse<T> implements HttpResponse<T> {
  private final HttpResponse<?> answer;
  private final HttpRequest request;
  private final HttpHeaders headers;
  private final HttpResponse<T> previous;
  private final T body;

  /** What a body handler needs to know. */
  record Info(int statusCode, HttpHeaders headers, Version version) implements ResponseInfo {}

  MaterialResponse(
      HttpResponse<?> answer,
      HttpRequest request,
      HttpHeaders headers,
      HttpResponse<T> previous,
      T body) {
    this.answer = answer;
    this.request = request;
    this.headers = headers;
    this.previous = previous;
    this.body = body;
  }

  @Override
  public int statusCode() {
    return answer.statusCode();
  }

  @Override
  public HttpRequest request() {
    return request;
  }

  @Override
  public Optional<HttpResponse<T>> previousResponse() {
    return Optional.ofNullable(previous);
  }

  @Override
  public HttpHeaders headers() {
    return headers;
  }

  @Override
  public T body() {
    return body;
  }

  @Override
  public Optional<SSLSession> sslSession() {
    return answer.sslSession();
  }

  @Override
  public URI uri() {
    return request.uri();
  }

  @Override
  public Version version() {
    return answer.version();
  }

  @Override
  public String toString() {
    return "(" + request + ") " + statusCode();
  }
}
