package com.authmaterial.client;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpMethod;
import org.springframework.http.HttpStatus;
import org.springframework.http.HttpStatusCode;
import org.springframework.http.client.AbstractClientHttpRequest;
import org.springframework.http.client.ClientHttpRequest;
import org.springframework.http.client.ClientHttpRequestFactory;
import org.springframework.http.client.ClientHttpResponse;

/** Sends the requests of Spring, with their bodies in memory, by an HttpClient. */
final class SpringRequestFactory implements ClientHttpRequestFactory {
  /** Headers that java.net.http sets itself, and therefore refuses. */
  private static final Set<String> NOT_COPIED =
      Set.of("connection", "content-length", "expect", "host", "upgrade");

  private final MaterialHttpClient client;
  private final Duration readTimeout;

  SpringRequestFactory(MaterialHttpClient client, Duration readTimeout) {
    this.client = client;
    this.readTimeout = readTimeout;
  }

  @Override
  public ClientHttpRequest createRequest(URI uri, HttpMethod method) {
    return new Request(uri, method);
  }

  @Override
  public String toString() {
    return "request factory of " + client;
  }

  private final class Request extends AbstractClientHttpRequest {
    private final URI uri;
    private final HttpMethod method;
    private final ByteArrayOutputStream body = new ByteArrayOutputStream();

    Request(URI uri, HttpMethod method) {
      this.uri = uri;
      this.method = method;
    }

    @Override
    public HttpMethod getMethod() {
      return method;
    }

    @Override
    public URI getURI() {
      return uri;
    }

    @Override
    protected OutputStream getBodyInternal(HttpHeaders headers) {
      return body;
    }

    @Override
    protected ClientHttpResponse executeInternal(HttpHeaders headers) throws IOException {
      HttpRequest.Builder request = HttpRequest.newBuilder(uri); // a GET request
      if (body.size() > 0) {
        request.method(method.name(), BodyPublishers.ofByteArray(body.toByteArray()));
      } else if (method != HttpMethod.GET) {
        request.method(method.name(), BodyPublishers.noBody());
      }
      headers.forEach((name, values) -> copy(request, name, values));
      if (readTimeout != null) {
        request.timeout(readTimeout);
      }
      try {
        return new Response(client.send(request.build(), BodyHandlers.ofInputStream()));
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw (IOException) new InterruptedIOException("interrupted").initCause(e);
      }
    }

    private static void copy(HttpRequest.Builder request, String name, List<String> values) {
      if (!NOT_COPIED.contains(name.toLowerCase(Locale.ROOT))) {
        values.forEach(value -> request.header(name, value));
      }
    }
  }

  private static final class Response implements ClientHttpResponse {
    private final HttpResponse<InputStream> response;
    private final HttpHeaders headers = new HttpHeaders();

    Response(HttpResponse<InputStream> response) {
      this.response = response;
      response.headers().map().forEach(headers::addAll);
    }

    @Override
    public HttpStatusCode getStatusCode() {
      return HttpStatusCode.valueOf(response.statusCode());
    }

    @Override
    public String getStatusText() {
      HttpStatus status = HttpStatus.resolve(response.statusCode());
      return status == null ? "" : status.getReasonPhrase();
    }

    @Override
    public HttpHeaders getHeaders() {
      return headers;
    }

    @Override
    public InputStream getBody() {
      return response.body();
    }

    @Override
    public void close() {
      try {
        response.body().close();
      } catch (IOException e) {
        return; // the response is not needed any more
      }
    }
  }
}
