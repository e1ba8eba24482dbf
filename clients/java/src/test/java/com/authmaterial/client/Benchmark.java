package com.authmaterial.client;

import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import org.springframework.http.client.ClientHttpRequestFactory;
import org.springframework.http.client.JdkClientHttpRequestFactory;
import org.springframework.web.client.RestClient;

/**
 * Prints the time of a request by each HTTP client with and without the material: `mvn test-compile
 * exec:java -Dexec.mainClass=com.authmaterial.client.Benchmark -Dexec.classpathScope=test`.
 */
public final class Benchmark {
  private static final int ROUNDS = 15;
  private static final int REQUESTS = 400;

  private Benchmark() {}

  /** Runs the benchmark. */
  public static void main(String[] arguments) throws Exception {
    HttpServer provider =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    provider.createContext(
        "/",
        exchange -> {
          exchange.sendResponseHeaders(204, -1);
          exchange.close();
        });
    provider.setExecutor(Executors.newCachedThreadPool());
    provider.start();
    String host = "127.0.0.1:" + provider.getAddress().getPort();
    String url = "http://" + host + "/v1/feature?page=2";
    try (FakeBroker broker = new FakeBroker(host);
        AuthmaterialClient client =
            AuthmaterialClient.builder(broker.address()).plaintext().build()) {
      HttpClient.Builder jdk = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
      compare("java.net.http", jdk(jdk.build(), url), jdk(client.httpClient("pendo", jdk), url));
      OkHttpClient.Builder ok = new OkHttpClient.Builder();
      OkHttpClient plain = ok.build();
      compare(
          "OkHttp", okhttp(plain, url), okhttp(client.okhttp("pendo").install(ok).build(), url));
      compare(
          "Spring RestClient",
          spring(restClient(new JdkClientHttpRequestFactory(jdk.build())), url),
          spring(restClient(client.spring("pendo").httpClient(jdk).requestFactory()), url));
    } finally {
      provider.stop(0);
    }
    System.exit(0);
  }

  private static RestClient restClient(ClientHttpRequestFactory factory) {
    return RestClient.builder().requestFactory(factory).build();
  }

  private static Callable<Integer> jdk(HttpClient http, String url) {
    return () ->
        http.send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.discarding())
            .statusCode();
  }

  private static Callable<Integer> okhttp(OkHttpClient http, String url) {
    return () -> {
      try (Response response = http.newCall(new Request.Builder().url(url).build()).execute()) {
        return response.code();
      }
    };
  }

  private static Callable<Integer> spring(RestClient http, String url) {
    return () ->
        http.get().uri(URI.create(url)).retrieve().toBodilessEntity().getStatusCode().value();
  }

  /** Prints the medians of rounds that alternate between both. */
  private static void compare(String name, Callable<Integer> without, Callable<Integer> with)
      throws Exception {
    double[] base = new double[ROUNDS];
    double[] ours = new double[ROUNDS];
    for (int i = -5; i < ROUNDS; i++) { // the first rounds warm up
      double a = round(without);
      double b = round(with);
      if (i >= 0) {
        base[i] = a;
        ours[i] = b;
      }
    }
    Arrays.sort(base);
    Arrays.sort(ours);
    System.out.printf(
        "%-18s %6.1f µs without, %6.1f µs with the material%n",
        name, base[ROUNDS / 2], ours[ROUNDS / 2]);
  }

  private static double round(Callable<Integer> request) throws Exception {
    long began = System.nanoTime();
    for (int i = 0; i < REQUESTS; i++) {
      if (request.call() != 204) {
        throw new IllegalStateException("unexpected status");
      }
    }
    return (System.nanoTime() - began) / 1e3 / REQUESTS;
  }
}
