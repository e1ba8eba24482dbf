package com.authmaterial.client;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import okhttp3.Headers;
import okhttp3.HttpUrl;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.RequestBody;
import okhttp3.Response;
import okio.BufferedSink;

/** Sends requests by OkHttp. */
final class OkHttpSender implements Sender {
  private final AuthmaterialClient client;
  private final OkHttpClient base;
  private final Map<String, OkHttpClient> clients = new ConcurrentHashMap<>();

  OkHttpSender(AuthmaterialClient client, Trust trust) {
    this.client = client;
    OkHttpClient.Builder builder = new OkHttpClient.Builder();
    if (trust != null) {
      builder.sslSocketFactory(trust.context().getSocketFactory(), trust.manager());
    }
    base = builder.build();
  }

  @Override
  public Request prepare(Order order) {
    OkHttpClient http =
        clients
            .computeIfAbsent(
                order.credential(), id -> client.okhttp(id).install(base.newBuilder()).build())
            .newBuilder()
            .followRedirects(order.follow())
            .build();
    okhttp3.Request request = request(order);
    return new Request() {
      @Override
      public JsonObject send(List<Object> objects) throws IOException {
        try (Response response = http.newCall(request).execute()) {
          for (Response hop = response; hop != null; hop = hop.priorResponse()) {
            objects.addAll(List.of(hop, hop.request(), hop.request().url(), hop.headers()));
            if (hop.networkResponse() != null) {
              objects.addAll(List.of(hop.networkResponse(), hop.networkResponse().request()));
            }
          }
          JsonObject result = new JsonObject();
          result.addProperty("status", response.code());
          result.addProperty("body", response.body().string());
          result.addProperty("url", response.request().url().toString());
          result.add("headers", pairs(response.headers()));
          return result;
        }
      }

      @Override
      public JsonObject after() {
        return object(request, order);
      }
    };
  }

  private static okhttp3.Request request(Order order) {
    okhttp3.Request.Builder request = new okhttp3.Request.Builder().url(order.url());
    order.headers().forEach(header -> request.addHeader(header.getKey(), header.getValue()));
    return request.method(order.method(), body(order)).build();
  }

  private static RequestBody body(Order order) {
    if (order.body() == null) {
      boolean without = List.of("GET", "HEAD").contains(order.method());
      return without ? null : RequestBody.create(new byte[0], null);
    }
    RequestBody body = RequestBody.create(order.body(), null);
    return order.repeatable() ? body : new OneShot(body);
  }

  private static final class OneShot extends RequestBody {
    private final RequestBody body;

    OneShot(RequestBody body) {
      this.body = body;
    }

    @Override
    public MediaType contentType() {
      return body.contentType();
    }

    @Override
    public void writeTo(BufferedSink sink) throws IOException {
      body.writeTo(sink);
    }

    @Override
    public boolean isOneShot() {
      return true;
    }
  }

  @Override
  public JsonObject apply(Order order, Prepared material) throws IOException {
    okhttp3.Request request = request(order);
    material.check(OkHttpInterceptor.target(request));
    return object(OkHttpNetworkInterceptor.decorate(request, material), order);
  }

  /** OkHttp adds the path / to a URL that has none. */
  private static JsonObject object(okhttp3.Request request, Order order) {
    JsonObject object = new JsonObject();
    boolean same = request.url().equals(HttpUrl.get(order.url()));
    object.addProperty("url", same ? order.url() : request.url().toString());
    object.add("headers", pairs(request.headers()));
    return object;
  }

  private static JsonArray pairs(Headers headers) {
    JsonArray pairs = new JsonArray();
    headers.forEach(pair -> pairs.add(Sender.pair(pair.getFirst(), pair.getSecond())));
    return pairs;
  }
}
