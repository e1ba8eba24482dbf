package com.authmaterial.client;

import java.io.IOException;
import org.springframework.http.HttpRequest;
import org.springframework.http.client.ClientHttpRequest;
import org.springframework.http.client.ClientHttpRequestExecution;
import org.springframework.http.client.ClientHttpRequestFactory;
import org.springframework.http.client.ClientHttpRequestInterceptor;
import org.springframework.http.client.ClientHttpResponse;

/** Sends requests by its own request factory. Another factory could follow redirects unchecked. */
final class SpringInterceptor implements ClientHttpRequestInterceptor {
  private final ClientHttpRequestFactory factory;

  SpringInterceptor(ClientHttpRequestFactory factory) {
    this.factory = factory;
  }

  @Override
  public ClientHttpResponse intercept(
      HttpRequest request, byte[] body, ClientHttpRequestExecution execution) throws IOException {
    ClientHttpRequest sent = factory.createRequest(request.getURI(), request.getMethod());
    request.getHeaders().forEach((name, values) -> sent.getHeaders().addAll(name, values));
    if (body.length > 0) {
      sent.getBody().write(body);
    }
    return sent.execute();
  }
}
