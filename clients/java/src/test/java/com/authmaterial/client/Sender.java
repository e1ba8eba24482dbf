package com.authmaterial.client;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.util.List;
import java.util.Map;

/** Sends the requests of vectors by one kind of HTTP client. */
interface Sender {
  /** A request of a vector. The body may be null. */
  record Order(
      String credential,
      String method,
      String url,
      List<Map.Entry<String, String>> headers,
      String body,
      boolean repeatable,
      boolean follow) {}

  /** A program's request, which can be sent. */
  interface Request {
    /** Returns the result, and adds texts of objects that the program gets. */
    JsonObject send(List<Object> objects) throws IOException, InterruptedException;

    /** Returns the URL and the headers of the request object, or null if there is none. */
    JsonObject after();
  }

  /** Returns the request object, or null if this kind of request is unsupported. */
  Request prepare(Order order);

  /** Adds a decoration to a request. */
  JsonObject apply(Order order, Prepared material) throws IOException;

  static JsonArray pair(String name, String value) {
    JsonArray pair = new JsonArray();
    pair.add(name);
    pair.add(value);
    return pair;
  }
}
