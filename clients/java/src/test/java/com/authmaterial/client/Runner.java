package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.util.JsonFormat;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Assumptions;

/** Performs the operations of one vector, as clients/vectors/README.md describes. */
final class Runner {
  private static final int MAX_TEXTS = 300;

  private final World world;
  private final String name;
  private final BiFunction<AuthmaterialClient, Trust, Sender> senders;
  private final FixedClock clock = new FixedClock();
  private final List<String> texts = Collections.synchronizedList(new ArrayList<>());
  private AuthmaterialClient client;
  private Sender sender;

  Runner(World world, String name, BiFunction<AuthmaterialClient, Trust, Sender> senders) {
    this.world = world;
    this.name = name;
    this.senders = senders;
  }

  void run(String vector) throws Exception {
    JsonObject start = new JsonObject();
    start.addProperty("client", name);
    try {
      JsonObject next = world.post("/vectors/" + vector, start);
      while (!List.of("done", "failed").contains(text(next, "op"))) {
        next = world.post("/sessions/" + text(next, "session"), perform(next));
      }
      String why = text(next, "why");
      Assertions.assertFalse(text(next, "op").equals("failed"), why);
      Assumptions.assumeTrue(why.isEmpty(), why);
    } finally {
      close();
    }
  }

  private void close() {
    if (client != null) {
      client.close();
    }
  }

  private JsonObject perform(JsonObject op) throws Exception {
    switch (text(op, "op")) {
      case "new":
        close();
        create(op);
        break;
      case "clock":
        clock.set(op.get("now").getAsDouble());
        break;
      case "request":
        return request(op);
      case "load":
        return load(op);
      case "apply":
        return apply(op);
      case "texts":
        return texts();
      case "close":
        client.close();
        break;
      default: // a Java program cannot fork
        return unsupported();
    }
    return new JsonObject();
  }

  private void create(JsonObject op) throws Exception {
    clock.set(op.has("now") ? op.get("now").getAsDouble() : 0);
    JsonObject broker = op.getAsJsonObject("broker");
    AuthmaterialClient.Builder builder =
        AuthmaterialClient.builder(text(broker, "address")).clock(clock);
    if (broker.get("plaintext").getAsBoolean()) {
      builder.plaintext();
    }
    if (broker.has("ca_file")) {
      builder.caFile(Path.of(text(broker, "ca_file")));
    }
    if (broker.has("certificate_file")) {
      builder.certificateFile(
          Path.of(text(broker, "certificate_file")), Path.of(text(broker, "key_file")));
    }
    if (broker.has("server_name")) {
      builder.serverName(text(broker, "server_name"));
    }
    if (broker.has("token_file")) {
      builder.tokenFile(Path.of(text(broker, "token_file")));
    }
    client = builder.build();
    String authorities = text(op, "provider_ca_file");
    Trust trusted = authorities.isEmpty() ? null : Trust.of(Path.of(authorities));
    sender = senders.apply(client, trusted);
  }

  private static Sender.Order order(JsonObject op, String credential) {
    List<Map.Entry<String, String>> headers = new ArrayList<>();
    if (op.has("headers") && !op.get("headers").isJsonNull()) {
      for (JsonElement pair : op.getAsJsonArray("headers")) {
        JsonArray header = pair.getAsJsonArray();
        headers.add(Map.entry(header.get(0).getAsString(), header.get(1).getAsString()));
      }
    }
    boolean body = op.has("body") && !op.get("body").isJsonNull();
    return new Sender.Order(
        credential,
        op.has("method") ? text(op, "method") : "GET",
        text(op, "url"),
        headers,
        body ? text(op, "body") : null,
        !op.has("body_repeatable") || op.get("body_repeatable").getAsBoolean(),
        !op.has("follow_redirects") || op.get("follow_redirects").getAsBoolean());
  }

  private JsonObject request(JsonObject op) throws Exception {
    int count = op.has("count") ? op.get("count").getAsInt() : 1;
    int concurrency = op.has("concurrency") ? op.get("concurrency").getAsInt() : 1;
    ExecutorService threads = Executors.newFixedThreadPool(Math.max(1, concurrency));
    List<Sender.Request> requests = new ArrayList<>(); // all, because new HTTP clients take time
    List<Future<JsonObject>> results = new ArrayList<>();
    try {
      for (int i = 0; i < count; i++) {
        Sender.Request request = sender.prepare(order(op, credential(op, i)));
        if (request == null) {
          return unsupported();
        }
        requests.add(request);
      }
      CountDownLatch start = new CountDownLatch(1); // all requests of a turn at the same time
      for (Sender.Request request : requests) {
        results.add(
            threads.submit(
                () -> {
                  start.await();
                  return send(request);
                }));
      }
      start.countDown();
      JsonArray all = new JsonArray();
      for (Future<JsonObject> result : results) {
        all.add(result.get());
      }
      JsonObject outcome = new JsonObject();
      outcome.add("results", all);
      JsonObject after = requests.get(0).after();
      if (after != null) {
        outcome.add("request_after", after);
      }
      return outcome;
    } finally {
      threads.shutdown();
    }
  }

  private static String credential(JsonObject op, int i) {
    if (!op.has("credentials") || op.get("credentials").isJsonNull()) {
      return text(op, "credential");
    }
    JsonArray all = op.getAsJsonArray("credentials");
    return all.isEmpty() ? text(op, "credential") : all.get(i % all.size()).getAsString();
  }

  private JsonObject send(Sender.Request request) throws InterruptedException {
    List<Object> objects = new ArrayList<>();
    try {
      return request.send(objects);
    } catch (IOException | RuntimeException e) {
      return failed(e);
    } finally {
      keep(objects);
    }
  }

  private JsonObject failed(Throwable error) {
    keep(List.of(error));
    JsonObject result = new JsonObject();
    result.addProperty("message", String.valueOf(error.getMessage()));
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (cause instanceof AuthmaterialException failed) {
        result.addProperty("message", failed.getMessage());
        result.addProperty("reason", failed.reason());
        result.addProperty("credential_id", failed.credentialId());
        failed
            .retryDelay()
            .ifPresent(delay -> result.addProperty("retry_seconds", delay.toNanos() / 1e9));
        break;
      }
    }
    JsonObject outcome = new JsonObject();
    outcome.add("error", result);
    return outcome;
  }

  private JsonObject apply(JsonObject op) throws IOException {
    AuthDecoration.Builder decoration = AuthDecoration.newBuilder();
    JsonFormat.parser().merge(op.get("decoration").toString(), decoration);
    try {
      return sender.apply(order(op, "pendo"), Prepared.of("pendo", decoration.build()));
    } catch (IOException | RuntimeException e) {
      return failed(e);
    }
  }

  private JsonObject texts() {
    keep(
        List.of(
            client, client.okhttp("pendo"), client.spring("pendo"), client.httpClient("pendo")));
    JsonArray all = new JsonArray();
    synchronized (texts) {
      texts.forEach(all::add);
    }
    JsonObject outcome = new JsonObject();
    outcome.add("texts", all);
    return outcome;
  }

  /** Keeps the texts of objects, and the stacks of errors, for the operation `texts`. */
  private void keep(List<Object> objects) {
    for (Object object : objects) {
      texts.add(String.valueOf(object));
      if (object instanceof Throwable error) {
        StringWriter stack = new StringWriter();
        error.printStackTrace(new PrintWriter(stack));
        texts.add(stack.toString());
      }
    }
    synchronized (texts) {
      while (texts.size() > MAX_TEXTS) {
        texts.remove(0);
      }
    }
  }

  /** Sends requests at equal intervals. */
  private JsonObject load(JsonObject op) throws Exception {
    int count = op.get("count").getAsInt();
    int concurrency = op.has("concurrency") ? op.get("concurrency").getAsInt() : 1;
    long interval = (long) (op.get("seconds").getAsDouble() * 1e9 / count);
    ExecutorService threads = Executors.newFixedThreadPool(concurrency);
    Semaphore turns = new Semaphore(concurrency);
    AtomicInteger succeeded = new AtomicInteger();
    List<String> failures = Collections.synchronizedList(new ArrayList<>());
    long start = System.nanoTime();
    for (int i = 0; i < count; i++) {
      TimeUnit.NANOSECONDS.sleep(start + i * interval - System.nanoTime());
      turns.acquire();
      Sender.Request request = sender.prepare(order(op, text(op, "credential")));
      threads.submit(
          () -> {
            try {
              JsonObject result = send(request);
              if (result.has("status") && result.get("status").getAsInt() == 200) {
                succeeded.incrementAndGet();
              } else {
                failures.add(result + " after " + (System.nanoTime() - start) / 1e9 + " s");
              }
            } finally {
              turns.release();
            }
            return null;
          });
    }
    threads.shutdown();
    threads.awaitTermination(1, TimeUnit.MINUTES);
    JsonObject outcome = new JsonObject();
    outcome.addProperty("succeeded", succeeded.get());
    JsonArray all = new JsonArray();
    failures.forEach(all::add);
    outcome.add("failures", all);
    return outcome;
  }

  private static JsonObject unsupported() {
    JsonObject outcome = new JsonObject();
    outcome.addProperty("unsupported", true);
    return outcome;
  }

  private static String text(JsonObject object, String field) {
    JsonElement value = object.get(field);
    return value == null || value.isJsonNull() ? "" : value.getAsString();
  }
}
