package com.authmaterial.client;

import com.authmaterial.v1.BrokerServiceGrpc;
import com.authmaterial.v1.BrokerServiceGrpc.BrokerServiceStub;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * The connection to the broker. When a certificate or key file has changed, the next call opens
 * another connection.
 */
final class Connection {
  /** How long a connection stays open after it was replaced, so that its calls can end. */
  private static final long REPLACED_SECONDS = 60;

  /** The broker ends connections whose clients send pings more often than every 10 seconds. */
  private static final long KEEPALIVE_SECONDS = 30;

  /** The largest file of authorities, a certificate or a key. */
  private static final int MAX_FILE = 4 << 20;

  private final Settings settings;
  private final ScheduledExecutorService scheduler;

  // The monitor of the connection guards the fields below.
  private final List<ManagedChannel> replaced = new ArrayList<>();
  private List<byte[]> files;
  private ManagedChannel channel;
  private boolean closed;

  /** Throws if a file cannot be read, or has no certificates or key. */
  Connection(Settings settings, ScheduledExecutorService scheduler) throws IOException {
    this.settings = settings;
    this.scheduler = scheduler;
    if (settings.tokenFile() != null) {
      new Token(settings.tokenFile()).read();
    }
    files = read();
    channel = open(files);
  }

  String address() {
    return settings.address();
  }

  /** Returns the stub for one call. */
  BrokerServiceStub stub() {
    ManagedChannel current = renewed();
    // Without the reset, gRPC itself waits up to two minutes between attempts to connect.
    current.resetConnectBackoff();
    BrokerServiceStub stub = BrokerServiceGrpc.newStub(current);
    return settings.tokenFile() == null
        ? stub
        : stub.withCallCredentials(new Token(settings.tokenFile()));
  }

  synchronized void close() {
    closed = true;
    channel.shutdownNow();
    replaced.forEach(ManagedChannel::shutdownNow);
  }

  private synchronized ManagedChannel renewed() {
    if (files.isEmpty() || closed) {
      return channel;
    }
    try {
      List<byte[]> current = read();
      if (!same(files, current)) {
        ManagedChannel opened = open(current);
        replace(opened, current);
      }
    } catch (IOException e) {
      // For example, only one of two files has been replaced: the current connection stays in use.
      return channel;
    }
    return channel;
  }

  private void replace(ManagedChannel opened, List<byte[]> current) {
    ManagedChannel old = channel;
    replaced.add(old);
    channel = opened;
    files = current;
    scheduler.schedule(() -> end(old), REPLACED_SECONDS, TimeUnit.SECONDS);
  }

  private synchronized void end(ManagedChannel old) {
    old.shutdownNow();
    replaced.remove(old);
  }

  private ManagedChannel open(List<byte[]> contents) throws IOException {
    try {
      return builder(contents)
          .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
          .keepAliveTimeout(KEEPALIVE_SECONDS / 3, TimeUnit.SECONDS)
          .build();
    } catch (RuntimeException e) { // gRPC does not say which one
      throw new IOException(
          "check the broker's address \""
              + settings.address()
              + "\", such as broker.example:50051, and the certificate and key files: "
              + e.getMessage(),
          e);
    }
  }

  private ManagedChannelBuilder<?> builder(List<byte[]> contents) throws IOException {
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilder(settings.address(), credentials(contents));
    if (settings.serverName() != null) {
      builder.overrideAuthority(settings.serverName());
    }
    if (settings.address().startsWith("unix:") && builder instanceof NettyChannelBuilder netty) {
      // gRPC sets the option, and for each connection Netty would log that Unix sockets lack it.
      netty.withOption(ChannelOption.SO_KEEPALIVE, null);
    }
    return builder;
  }

  private ChannelCredentials credentials(List<byte[]> contents) throws IOException {
    if (settings.plaintext()) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
    int next = 0;
    if (settings.caFile() != null) {
      tls.trustManager(new ByteArrayInputStream(contents.get(next++)));
    }
    if (settings.certificateFile() != null) {
      tls.keyManager(
          new ByteArrayInputStream(contents.get(next)),
          new ByteArrayInputStream(contents.get(next + 1)));
    }
    return tls.build();
  }

  /** Reads the files of authorities, certificate and key that are set, in this order. */
  private List<byte[]> read() throws IOException {
    List<byte[]> contents = new ArrayList<>();
    for (Path file :
        Arrays.asList(settings.caFile(), settings.certificateFile(), settings.keyFile())) {
      if (file != null) {
        contents.add(RegularFile.read(file, MAX_FILE));
      }
    }
    return contents;
  }

  private static boolean same(List<byte[]> a, List<byte[]> b) {
    return Arrays.deepEquals(a.toArray(), b.toArray());
  }
}
