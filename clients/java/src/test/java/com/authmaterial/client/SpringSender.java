package com.authmaterial.client;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Redirect;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.springframework.http.HttpMethod;
import org.springframework.web.client.RestClient;

/** Sends requests by Spring's RestClient. */
final class SpringSender implements Sender {
  private final AuthmaterialClient client;
  private final boolean interceptor;
  private final HttpClient.Builder builder =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
  private final Map<String, RestClient> clients = new ConcurrentHashMap<>();

  /** With `interceptor`, the material is added by the interceptor and not by the factory. */
  SpringSender(AuthmaterialClient client, Trust trust, boolean interceptor) {
    this.client = client;
    this.interceptor = interceptor;
    if (trust != null) {
      builder.sslContext(trust.context());
    }
  }

  @Override
  public Request prepare(Order order) {
    if (!order.repeatable()) {
      return null; // Spring keeps bodies in memory
    }
    RestClient http =
        clients.computeIfAbsent(order.credential() + order.follow(), key -> restClient(order));
    return new Request() {
      @Override
      public JsonObject send(List<Object> objects) {
        RestClient.RequestBodySpec request =
            http.method(HttpMethod.valueOf(order.method())).uri(URI.create(order.url()));
        order.headers().forEach(header -> request.header(header.getKey(), header.getValue()));
        if (order.body() != null) {
          request.body(order.body().getBytes(StandardCharsets.UTF_8));
        }
        return request.exchange(
            (sent, response) -> {
              objects.addAll(List.of(sent, sent.getURI(), sent.getHeaders(), response));
              JsonObject result = new JsonObject();
              result.addProperty("status", response.getStatusCode().value());
              byte[] body = response.getBody().readAllBytes();
              result.addProperty("body", new String(body, StandardCharsets.UTF_8));
              result.add("headers", pairs(response.getHeaders()));
              return result;
            });
      }

      @Override
      public JsonObject after() {
        return null;
      }
    };
  }

  private RestClient restClient(Order order) {
    SpringAdapter adapter =
        client
            .spring(order.credential())
            .httpClient(builder.followRedirects(order.follow() ? Redirect.ALWAYS : Redirect.NEVER));
    RestClient.Builder http = RestClient.builder();
    return interceptor
        ? http.requestInterceptor(adapter.interceptor()).build()
        : http.requestFactory(adapter.requestFactory()).build();
  }

  @Override
  public JsonObject apply(Order order, Prepared material) throws IOException {
    return new JdkSender(client, null).apply(order, material);
  }

  private static JsonArray pairs(org.springframework.http.HttpHeaders headers) {
    JsonArray pairs = new JsonArray();
    headers.forEach((name, values) -> values.forEach(value -> pairs.add(Sender.pair(name, value))));
    return pairs;
  }
}
