package com.authmaterial.client;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** The program clientworld, which runs the vectors. It ends with this process. */
final class World implements AutoCloseable {
  private final Process process;
  private final String url;
  private final HttpClient http =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  World() throws IOException {
    String program = System.getenv("CLIENTWORLD");
    if (program == null) {
      throw new IllegalStateException(
          "CLIENTWORLD is not set: run `make clientworld`, and set it to the path of .bin/clientworld");
    }
    process = new ProcessBuilder(program).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String line =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))
            .readLine();
    url = JsonParser.parseString(line).getAsJsonObject().get("url").getAsString();
  }

  List<String> names(String path) throws Exception {
    List<String> names = new ArrayList<>();
    JsonElement list = exchange(HttpRequest.newBuilder(URI.create(url + path)).build());
    list.getAsJsonArray().forEach(name -> names.add(name.getAsString()));
    return names;
  }

  JsonObject post(String path, JsonObject value) throws Exception {
    return exchange(
            HttpRequest.newBuilder(URI.create(url + path))
                .POST(BodyPublishers.ofString(value.toString()))
                .build())
        .getAsJsonObject();
  }

  private JsonElement exchange(HttpRequest request) throws Exception {
    HttpResponse<String> response = http.send(request, BodyHandlers.ofString());
    if (response.statusCode() != 200) {
      throw new IOException(request.uri() + ": " + response.statusCode() + " " + response.body());
    }
    return JsonParser.parseString(response.body());
  }

  @Override
  public void close() throws IOException {
    process.getOutputStream().close();
  }
}
