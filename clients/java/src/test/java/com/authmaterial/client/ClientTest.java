package com.authmaterial.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.Header;
import com.google.protobuf.Timestamp;
import com.sun.net.httpserver.HttpServer;
import io.grpc.Context;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollIoHandler;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.WebSocketListener;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Tests what only Java programs can see. The vectors test the rest. */
@Timeout(30)
class ClientTest {
  @TempDir private Path folder;
  private final CountDownLatch hanging = new CountDownLatch(1);
  private final CountDownLatch received = new CountDownLatch(1);
  private final CountDownLatch answer = new CountDownLatch(1);
  private HttpServer provider;
  private URI url;
  private FakeBroker broker;
  private AuthmaterialClient client;
  private final Socket taken = new Socket(); // a port that nobody else can take

  @BeforeEach
  void start() throws IOException {
    provider = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    provider.createContext(
        "/",
        exchange -> {
          byte[] body =
              exchange
                  .getRequestHeaders()
                  .getOrDefault("Authorization", List.of("none"))
                  .get(0)
                  .getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(200, body.length);
          exchange.getResponseBody().write(body);
          exchange.close();
        });
    provider.createContext(
        "/endless",
        exchange -> {
          exchange.sendResponseHeaders(200, 0);
          received.countDown();
          try {
            while (true) {
              exchange.getResponseBody().write(new byte[1 << 16]);
            }
          } catch (IOException e) {
            hanging.countDown();
          }
          exchange.close();
        });
    provider.createContext(
        "/late",
        exchange -> {
          received.countDown();
          try {
            answer.await();
            exchange.sendResponseHeaders(200, 0);
            while (true) {
              exchange.getResponseBody().write(new byte[1 << 16]);
            }
          } catch (IOException | InterruptedException e) {
            hanging.countDown();
          }
          exchange.close();
        });
    provider.setExecutor(Executors.newCachedThreadPool());
    provider.start();
    String host = "127.0.0.1:" + provider.getAddress().getPort();
    url = URI.create("http://" + host + "/");
    broker = new FakeBroker(host);
    client = AuthmaterialClient.builder(broker.address()).plaintext().build();
  }

  @AfterEach
  void end() throws IOException {
    client.close();
    broker.close();
    provider.stop(0);
    taken.close();
  }

  /** Makes `client` a client of an address at which nothing listens, and returns the address. */
  private String withoutBroker() throws IOException {
    client.close();
    taken.bind(new InetSocketAddress("127.0.0.1", 0));
    String address = "127.0.0.1:" + taken.getLocalPort();
    client = AuthmaterialClient.builder(address).plaintext().build();
    return address;
  }

  private HttpResponse<String> send(HttpClient http) throws IOException, InterruptedException {
    return http.send(HttpRequest.newBuilder(url).build(), BodyHandlers.ofString());
  }

  @Test
  void anEndedCallOfTheProgramDoesNotCancelACallOfTheClient() throws Exception {
    Context.CancellableContext ended = Context.current().withCancellation();
    ended.cancel(null);
    HttpResponse<String> response = ended.call(() -> send(client.httpClient("pendo")));
    assertEquals("Bearer secret", response.body());
  }

  @Test
  void allThreadsAreDaemons() throws Exception {
    send(client.httpClient("pendo"));
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().matches("(authmaterial|grpc).*")) {
        assertTrue(thread.isDaemon(), thread.getName());
      }
    }
  }

  @Test
  void closeIsRepeatable() throws Exception {
    HttpClient http = client.httpClient("pendo");
    send(http);
    client.close();
    client.close();
    AuthmaterialException failed = assertThrows(AuthmaterialException.class, () -> send(http));
    assertEquals(AuthmaterialException.BROKER_UNREACHABLE, failed.reason());
  }

  @Test
  void theTimeoutOfARequestIncludesTheCallOfTheBroker() throws IOException {
    withoutBroker();
    HttpRequest request = HttpRequest.newBuilder(url).timeout(Duration.ofMillis(300)).build();
    HttpClient http = client.httpClient("pendo");
    assertThrows(HttpTimeoutException.class, () -> http.send(request, BodyHandlers.discarding()));
  }

  @Test
  void aCancelledRequestEndsTheBody() throws Exception {
    HttpRequest request = HttpRequest.newBuilder(url.resolve("/endless")).build();
    CompletableFuture<HttpResponse<Void>> response =
        client.httpClient("pendo").sendAsync(request, BodyHandlers.discarding());
    assertTrue(received.await(10, TimeUnit.SECONDS));
    assertThrows(TimeoutException.class, () -> response.get(1, TimeUnit.SECONDS));
    response.cancel(true);
    assertTrue(hanging.await(10, TimeUnit.SECONDS), "the provider still sends the body");
  }

  @Test
  void anInterruptedRequestEndsTheBody() throws Exception {
    HttpRequest request = HttpRequest.newBuilder(url.resolve("/endless")).build();
    HttpClient http = client.httpClient("pendo");
    CompletableFuture<Exception> failed = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                http.send(request, BodyHandlers.discarding());
              } catch (IOException | InterruptedException e) {
                failed.complete(e);
              }
            });
    thread.start();
    assertTrue(received.await(10, TimeUnit.SECONDS));
    assertThrows(TimeoutException.class, () -> failed.get(1, TimeUnit.SECONDS));
    thread.interrupt();
    assertTrue(failed.get(10, TimeUnit.SECONDS) instanceof InterruptedException);
    assertTrue(hanging.await(10, TimeUnit.SECONDS), "the provider still sends the body");
  }

  @Test
  void theBodyOfALateResponseIsNotRead() throws Exception {
    HttpRequest request = HttpRequest.newBuilder(url.resolve("/late")).build();
    CompletableFuture<HttpResponse<Void>> response =
        client.httpClient("pendo").sendAsync(request, BodyHandlers.discarding());
    assertTrue(received.await(10, TimeUnit.SECONDS));
    response.completeExceptionally(new TimeoutException()); // as orTimeout does
    answer.countDown();
    assertTrue(hanging.await(10, TimeUnit.SECONDS), "the provider still sends the body");
  }

  @Test
  void codeThatDependsOnAFutureMayBlock() throws Exception {
    HttpClient http = client.httpClient("pendo");
    assertTrue(threadOf(http, url.resolve("/late")).matches(".*(ForkJoin|Thread-).*"));
    HttpClient missing = client.httpClient("missing");
    assertTrue(threadOf(missing, url).matches(".*(ForkJoin|Thread-).*"));
  }

  /** Returns the name of the thread that runs code that depends on a request. */
  private String threadOf(HttpClient http, URI target) throws Exception {
    CompletableFuture<String> name = new CompletableFuture<>();
    HttpRequest request = HttpRequest.newBuilder(target).build();
    http.sendAsync(request, BodyHandlers.ofInputStream())
        .whenComplete((response, error) -> name.complete(Thread.currentThread().getName()));
    answer.countDown();
    return name.get(10, TimeUnit.SECONDS);
  }

  @Test
  void theValueOfAHeaderThatCannotBeSentIsInNoText() throws Exception {
    broker.header = Header.newBuilder().setName("x-key").setValue("se\u0142cret").build();
    AuthmaterialException failed =
        assertThrows(AuthmaterialException.class, () -> send(client.httpClient("pendo")));
    assertTrue(failed.getMessage().contains("x-key"), failed.getMessage());
    assertFalse(stack(failed).contains("cret"), stack(failed));
    OkHttpClient okhttp = client.okhttp("pendo").install(new OkHttpClient.Builder()).build();
    Request request = new Request.Builder().url(url.toString()).build();
    failed =
        assertThrows(AuthmaterialException.class, () -> okhttp.newCall(request).execute().close());
    assertFalse(stack(failed).contains("cret"), stack(failed));
  }

  private static String stack(Throwable error) {
    StringWriter stack = new StringWriter();
    error.printStackTrace(new PrintWriter(stack));
    return stack.toString();
  }

  @Test
  void anErrorSaysWhatIsWrongWithTheConnection() throws IOException {
    String address = withoutBroker();
    AuthmaterialException failed =
        assertThrows(AuthmaterialException.class, () -> send(client.httpClient("pendo")));
    assertTrue(failed.getMessage().contains(address), failed.getMessage());
    assertTrue(failed.getMessage().contains("Connection refused"), failed.getMessage());
    assertEquals(1, stack(failed).split("BROKER_UNREACHABLE", -1).length - 1, stack(failed));
  }

  @Test
  void aRequestEndsWhenTheBrokersAnswerIsInvalid() throws Exception {
    HttpClient missing = client.httpClient("missing");
    broker.trailers.put(
        Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
        new byte[] {1, 2, 3});
    assertThrows(AuthmaterialException.class, () -> send(missing));
    broker.expires = Timestamp.newBuilder().setSeconds(Long.MAX_VALUE).build();
    assertThrows(AuthmaterialException.class, () -> send(client.httpClient("pendo")));
  }

  @Test
  void usesThatCannotBeReportedAreLimited() throws Exception {
    FixedClock clock = new FixedClock();
    double now = 1.8e9;
    clock.set(now);
    broker.refusesUsage = true;
    Settings settings = new Settings(broker.address(), true, null, null, null, null, null, clock);
    Credentials credentials = new Credentials(settings);
    AuthDecoration decoration = AuthDecoration.newBuilder().setVersion("v1").build();
    Credential last = null;
    Prepared sent = null;
    for (int i = 0; i < 1200; i++) {
      last = credentials.credential("key-" + i);
      sent = Prepared.of(last.id, decoration);
      last.use(sent, credentials.now());
    }
    clock.set(now += 60);
    last.use(sent, credentials.now()); // reports the uses
    while (broker.refusals.get() < 12) { // the class has a timeout
      Thread.sleep(10);
    }
    broker.refusesUsage = false;
    while (broker.used.size() < 1000) {
      clock.set(now += 60);
      last.use(sent, credentials.now());
      Thread.sleep(10);
    }
    credentials.close();
    assertTrue(broker.used.size() < 1200, "credentials: " + broker.used.size());
  }

  @Test
  void anErrorOfTheBodyHandlerIsTheErrorOfTheRequest() {
    HttpClient http = client.httpClient("pendo");
    HttpRequest request = HttpRequest.newBuilder(url).build();
    IllegalStateException failed =
        assertThrows(
            IllegalStateException.class,
            () ->
                http.send(
                    request,
                    info -> {
                      throw new IllegalStateException("handler");
                    }));
    assertEquals("handler", failed.getMessage());
  }

  @Test
  void theNetworkInterceptorIsNeeded() {
    OkHttpClient.Builder builder = client.okhttp("pendo").install(new OkHttpClient.Builder());
    builder.networkInterceptors().clear();
    Request request = new Request.Builder().url(url.toString()).build();
    assertThrows(
        IllegalStateException.class, () -> builder.build().newCall(request).execute().close());
  }

  @Test
  void webSocketsAreRefused() throws Exception {
    OkHttpClient http = client.okhttp("pendo").install(new OkHttpClient.Builder()).build();
    CompletableFuture<Throwable> failed = new CompletableFuture<>();
    http.newWebSocket(
        new Request.Builder().url(url.toString()).build(),
        new WebSocketListener() {
          @Override
          public void onFailure(
              okhttp3.WebSocket socket, Throwable error, okhttp3.Response response) {
            failed.complete(error);
          }
        });
    assertTrue(failed.get(10, TimeUnit.SECONDS).getMessage().contains("WebSockets"));
  }

  @Test
  void aCancelledCallOfOkHttpDoesNotWaitForTheBroker() throws Exception {
    withoutBroker();
    OkHttpClient http =
        client
            .okhttp("pendo")
            .install(new OkHttpClient.Builder())
            .callTimeout(Duration.ofMillis(300))
            .build();
    Request request = new Request.Builder().url(url.toString()).build();
    long began = System.nanoTime();
    assertThrows(IOException.class, () -> http.newCall(request).execute().close());
    assertTrue(System.nanoTime() - began < TimeUnit.SECONDS.toNanos(4), "waited for the broker");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void theBrokerCanListenAtAUnixSocket() throws Exception {
    Path socket = folder.resolve("broker.sock");
    EventLoopGroup group = new MultiThreadIoEventLoopGroup(1, EpollIoHandler.newFactory());
    NettyServerBuilder builder =
        NettyServerBuilder.forAddress(
                new DomainSocketAddress(socket.toFile()), InsecureServerCredentials.create())
            .channelType(EpollServerDomainSocketChannel.class)
            .bossEventLoopGroup(group)
            .workerEventLoopGroup(group)
            .withChildOption(ChannelOption.SO_KEEPALIVE, null); // which Unix sockets do not have
    FakeBroker other = new FakeBroker(url.getAuthority(), builder);
    List<String> logged = new CopyOnWriteArrayList<>();
    Handler log = new LogList(logged);
    Logger.getLogger("io.grpc").addHandler(log);
    try (AuthmaterialClient local =
        AuthmaterialClient.builder("unix://" + socket)
            .plaintext()
            .tokenFile(Files.writeString(folder.resolve("token"), "abc"))
            .build()) {
      assertEquals("Bearer secret", send(local.httpClient("pendo")).body());
      assertEquals(List.of(), logged);
    } finally {
      Logger.getLogger("io.grpc").removeHandler(log);
      other.close();
      group.shutdownGracefully(0, 1, TimeUnit.SECONDS);
    }
  }

  @Test
  void settingsThatContradictEachOtherAreRefused() throws Exception {
    Path token = Files.writeString(folder.resolve("token"), "abc\n");
    AuthmaterialClient.Builder plaintext =
        AuthmaterialClient.builder("127.0.0.1:1").plaintext().tokenFile(token);
    assertThrows(IllegalArgumentException.class, plaintext::build);
    AuthmaterialClient.Builder missing =
        AuthmaterialClient.builder("127.0.0.1:1").caFile(folder.resolve("missing.pem"));
    assertThrows(IOException.class, missing::build);
    AuthmaterialClient.Builder invalid = AuthmaterialClient.builder("127.0.0.1:1").caFile(token);
    assertFalse(assertThrows(IOException.class, invalid::build).getMessage().contains("abc"));
    Path key = Files.writeString(folder.resolve("key"), "secret key");
    AuthmaterialClient.Builder badKey =
        AuthmaterialClient.builder("127.0.0.1:1").certificateFile(token, key);
    assertFalse(assertThrows(IOException.class, badKey::build).getMessage().contains("secret"));
    IOException unknown =
        assertThrows(
            IOException.class, AuthmaterialClient.builder("http://broker:1").plaintext()::build);
    assertTrue(unknown.getMessage().contains("\"http://broker:1\""), unknown.getMessage());
    assertThrows(NullPointerException.class, () -> client.httpClient(null));
    assertThrows(
        IllegalArgumentException.class, () -> client.spring("pendo").readTimeout(Duration.ZERO));
    Path broken = Files.writeString(folder.resolve("broken"), "not a token");
    AuthmaterialClient.Builder badToken =
        AuthmaterialClient.builder("127.0.0.1:1").tokenFile(broken);
    assertFalse(assertThrows(IOException.class, badToken::build).getMessage().contains("not a"));
  }

  /** Collects the texts of log records. */
  private static final class LogList extends Handler {
    private final List<String> logged;

    LogList(List<String> logged) {
      this.logged = logged;
    }

    @Override
    public void publish(LogRecord event) {
      logged.add(event.getMessage());
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }
}
