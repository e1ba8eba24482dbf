package com.authmaterial.client;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Redirect;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;

/** Sends requests by java.net.http, half of them by sendAsync. */
final class JdkSender implements Sender {
  private final AuthmaterialClient client;
  private final HttpClient.Builder builder =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
  private final Map<String, HttpClient> following = new ConcurrentHashMap<>();
  private final Map<String, HttpClient> notFollowing = new ConcurrentHashMap<>();
  private int sent;

  JdkSender(AuthmaterialClient client, Trust trust) {
    this.client = client;
    if (trust != null) {
      builder.sslContext(trust.context());
    }
  }

  @Override
  public Request prepare(Order order) {
    HttpClient http =
        (order.follow() ? following : notFollowing)
            .computeIfAbsent(
                order.credential(),
                id -> {
                  Redirect policy = order.follow() ? Redirect.ALWAYS : Redirect.NEVER;
                  return client.httpClient(id, builder.followRedirects(policy));
                });
    boolean async = sent++ % 2 == 1;
    HttpRequest request = request(order);
    return new Request() {
      @Override
      public JsonObject send(List<Object> objects) throws IOException, InterruptedException {
        HttpResponse<String> response =
            async ? sendAsync(http, request) : http.send(request, BodyHandlers.ofString());
        for (HttpResponse<String> hop = response;
            hop != null;
            hop = hop.previousResponse().orElse(null)) {
          objects.addAll(List.of(hop, hop.request(), hop.uri(), hop.headers()));
        }
        JsonObject result = new JsonObject();
        result.addProperty("status", response.statusCode());
        result.addProperty("body", response.body());
        result.addProperty("url", response.uri().toString());
        result.add("headers", pairs(response.headers()));
        return result;
      }

      @Override
      public JsonObject after() {
        return object(request);
      }
    };
  }

  private static HttpResponse<String> sendAsync(HttpClient http, HttpRequest request)
      throws IOException {
    try {
      return http.sendAsync(request, BodyHandlers.ofString()).join();
    } catch (CompletionException e) {
      throw new IOException(e);
    }
  }

  private static HttpRequest request(Order order) {
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(order.url()));
    order.headers().forEach(header -> request.header(header.getKey(), header.getValue()));
    if (order.body() != null || !order.method().equals("GET")) {
      request.method(order.method(), body(order));
    }
    return request.build();
  }

  private static BodyPublisher body(Order order) {
    if (order.body() == null) {
      return BodyPublishers.noBody();
    }
    if (order.repeatable()) {
      return BodyPublishers.ofString(order.body());
    }
    InputStream stream = new ByteArrayInputStream(order.body().getBytes(StandardCharsets.UTF_8));
    return BodyPublishers.ofInputStream(() -> stream);
  }

  @Override
  public JsonObject apply(Order order, Prepared material) throws IOException {
    HttpRequest request = request(order);
    material.check(Target.of(request.uri(), request.headers().allValues("Host")));
    return object(HttpDecoration.decorate(request, material).build());
  }

  private static JsonObject object(HttpRequest request) {
    JsonObject object = new JsonObject();
    object.addProperty("url", request.uri().toString());
    object.add("headers", pairs(request.headers()));
    return object;
  }

  private static JsonArray pairs(HttpHeaders headers) {
    JsonArray pairs = new JsonArray();
    headers
        .map()
        .forEach((name, values) -> values.forEach(value -> pairs.add(Sender.pair(name, value))));
    return pairs;
  }
}
