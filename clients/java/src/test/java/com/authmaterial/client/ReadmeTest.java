package com.authmaterial.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Compiles and runs the examples of the README. */
class ReadmeTest {
  private static final Pattern EXAMPLE = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
  private static final String IMPORTS =
      """
      import com.authmaterial.client.AuthmaterialClient;
      import java.net.URI;
      import java.net.http.HttpClient;
      import java.net.http.HttpRequest;
      import java.net.http.HttpResponse.BodyHandlers;
      import java.nio.file.Path;
      import okhttp3.OkHttpClient;
      import okhttp3.Request;
      import org.springframework.web.client.RestClient;
      """;

  @TempDir private Path folder;

  @Test
  void examples() throws Exception {
    List<String> seen = new ArrayList<>();
    HttpServer provider =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    provider.createContext(
        "/api/v1/feature",
        exchange -> {
          seen.add(exchange.getRequestHeaders().getFirst("Authorization"));
          exchange.sendResponseHeaders(200, 8);
          exchange.getResponseBody().write("features".getBytes(StandardCharsets.UTF_8));
          exchange.close();
        });
    provider.start();
    String host = "127.0.0.1:" + provider.getAddress().getPort();
    PrintStream out = System.out;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    try (FakeBroker broker = new FakeBroker(host)) {
      Class<?> program = compile(source(broker.address(), host));
      System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
      program.getMethod("main").invoke(null);
    } finally {
      System.setOut(out);
      provider.stop(0);
    }
    assertEquals(List.of("Bearer secret", "Bearer secret", "Bearer secret"), seen);
    assertEquals("features\nfeatures\nfeatures\n", printed.toString(StandardCharsets.UTF_8));
  }

  /** Returns a program with the examples, whose addresses are replaced. */
  private static String source(String broker, String provider) throws Exception {
    StringBuilder source = new StringBuilder(IMPORTS).append("public class Example {\n");
    StringBuilder main = new StringBuilder("public static void main() throws Exception {\n");
    Matcher examples = EXAMPLE.matcher(Files.readString(Path.of("README.md")));
    for (int i = 0; examples.find(); i++) {
      String code =
          examples
              .group(1)
              .replace("broker.example:50051", broker)
              .replaceAll("\\.(caFile|tokenFile)\\(.*?\\)\\)", "")
              .replace(".build();", i == 0 ? ".plaintext().build();" : ".build();")
              .replace("https://app.pendo.io", "http://" + provider);
      if (i == 0) {
        main.append(code);
        continue;
      }
      source.append("static void example" + i + "(AuthmaterialClient broker) throws Exception {\n");
      source.append(code).append("}\n");
      main.append("example" + i + "(broker);\n");
    }
    return source.append(main).append("broker.close();\n}\n}\n").toString();
  }

  private Class<?> compile(String source) throws Exception {
    Path file = Files.writeString(folder.resolve("Example.java"), source);
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    ByteArrayOutputStream errors = new ByteArrayOutputStream();
    String classPath = System.getProperty("java.class.path");
    int status = compiler.run(null, errors, errors, "-cp", classPath, "-d", "" + folder, "" + file);
    assertEquals(0, status, () -> errors.toString(StandardCharsets.UTF_8) + source);
    URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()});
    assertTrue(Files.exists(folder.resolve("Example.class")));
    return loader.loadClass("Example");
  }
}
