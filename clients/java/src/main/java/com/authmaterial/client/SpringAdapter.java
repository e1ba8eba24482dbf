package com.authmaterial.client;

import java.net.http.HttpClient;
import java.net.http.HttpClient.Redirect;
import java.time.Duration;
import org.springframework.http.client.ClientHttpRequestFactory;
import org.springframework.http.client.ClientHttpRequestInterceptor;

/**
 * Adds the material of a credential to the requests of Spring's {@code RestClient} and {@code
 * RestTemplate}. The adapter is immutable.
 *
 * <p>The requests are sent by the HTTP client of the Java runtime, and the adapter follows
 * redirects itself, because other request factories of Spring follow redirects with all headers.
 * Spring's {@code ResourceAccessException} has the {@link AuthmaterialException} of a request as
 * its cause.
 */
public final class SpringAdapter {
  private final Credential credential;
  private final MaterialHttpClient client; // or null
  private final Duration readTimeout;

  SpringAdapter(Credential credential) {
    this(credential, null, null);
  }

  private SpringAdapter(Credential credential, MaterialHttpClient client, Duration readTimeout) {
    this.credential = credential;
    this.client = client;
    this.readTimeout = readTimeout;
  }

  /**
   * Returns an adapter whose requests are sent by another HTTP client. The default client follows
   * redirects, except from https to http.
   *
   * @param builder configures the HTTP client; after the call, the builder follows no redirects
   * @return the adapter
   */
  public SpringAdapter httpClient(HttpClient.Builder builder) {
    return new SpringAdapter(credential, MaterialHttpClient.of(credential, builder), readTimeout);
  }

  /**
   * Returns an adapter whose requests fail if the provider has not begun its response in time.
   *
   * @param timeout the time for a request with its redirects and the calls of the broker; by
   *     default there is no limit
   * @return the adapter
   */
  public SpringAdapter readTimeout(Duration timeout) {
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("readTimeout: the timeout must be positive");
    }
    return new SpringAdapter(credential, client, timeout);
  }

  /**
   * Returns a request factory that adds the material to each request. Interceptors do not see the
   * material, whatever their order. Use one factory for all requests, because each call of this
   * method without {@link #httpClient} makes an HTTP client with its own connections:
   *
   * <pre>{@code
   * RestClient pendo = RestClient.builder()
   *     .requestFactory(broker.spring("pendo").requestFactory())
   *     .build();
   * }</pre>
   *
   * @return the factory
   */
  public ClientHttpRequestFactory requestFactory() {
    MaterialHttpClient used = client;
    if (used == null) {
      HttpClient.Builder builder = HttpClient.newBuilder().followRedirects(Redirect.NORMAL);
      used = MaterialHttpClient.of(credential, builder);
    }
    return new SpringRequestFactory(used, readTimeout);
  }

  /**
   * Returns an interceptor that does the same, for code that only accepts interceptors. The
   * interceptor sends the request itself, so it must be the last interceptor, and the request
   * factory of the {@code RestClient} or {@code RestTemplate} is not used.
   *
   * @return the interceptor
   */
  public ClientHttpRequestInterceptor interceptor() {
    return new SpringInterceptor(requestFactory());
  }

  @Override
  public String toString() {
    return "SpringAdapter for " + credential;
  }
}
