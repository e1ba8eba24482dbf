package com.authmaterial.client;

import java.util.function.BiFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/** Runs the vectors of clients/vectors, which all clients must pass, with each adapter. */
@Execution(ExecutionMode.CONCURRENT)
class VectorTest {
  private static World world;

  @BeforeAll
  static void start() throws Exception {
    world = new World();
  }

  @AfterAll
  static void end() throws Exception {
    world.close();
  }

  @TestFactory
  Stream<DynamicTest> okhttp() throws Exception {
    return tests("/vectors", "java okhttp", OkHttpSender::new);
  }

  @TestFactory
  Stream<DynamicTest> jdk() throws Exception {
    return tests("/vectors", "java java.net.http", JdkSender::new);
  }

  @TestFactory
  Stream<DynamicTest> springFactory() throws Exception {
    return tests("/vectors", "java spring", VectorTest::spring);
  }

  /** The interceptor sends by the same factory, so the vectors of requests are enough. */
  @TestFactory
  Stream<DynamicTest> springInterceptor() throws Exception {
    return tests(
        "/vectors",
        "java spring interceptor",
        (client, trust) -> new SpringSender(client, trust, true),
        ".*(redirect|reject|request-|header|query|body).*");
  }

  @TestFactory
  @EnabledIfEnvironmentVariable(named = "LOAD", matches = ".+")
  @Execution(ExecutionMode.SAME_THREAD)
  Stream<DynamicTest> load() throws Exception {
    return Stream.of(
            tests("/vectors?kind=load", "java okhttp", OkHttpSender::new),
            tests("/vectors?kind=load", "java java.net.http", JdkSender::new),
            tests("/vectors?kind=load", "java spring", VectorTest::spring))
        .flatMap(tests -> tests);
  }

  private static Sender spring(AuthmaterialClient client, Trust trust) {
    return new SpringSender(client, trust, false);
  }

  private static Stream<DynamicTest> tests(
      String path, String client, BiFunction<AuthmaterialClient, Trust, Sender> senders)
      throws Exception {
    return tests(path, client, senders, ".*");
  }

  private static Stream<DynamicTest> tests(
      String path,
      String client,
      BiFunction<AuthmaterialClient, Trust, Sender> senders,
      String names)
      throws Exception {
    String only = System.getProperty("vectors", ".*"); // for one vector: -Dvectors=NAME
    return world.names(path).stream()
        .filter(name -> name.matches(only) && name.matches(names))
        .map(
            name ->
                DynamicTest.dynamicTest(name, () -> new Runner(world, client, senders).run(name)));
  }
}
