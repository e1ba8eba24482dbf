package com.authmaterial.client;

import java.io.IOException;
import java.net.http.HttpClient;
import java.nio.file.Path;
import java.time.Clock;
import java.util.Objects;

/**
 * Adds the broker's material to the requests of HTTP clients. The client keeps a copy of the
 * material of each credential, which the broker updates by a stream, so that a request normally
 * needs no call to the broker.
 *
 * <p>A request whose material is not available fails with an {@link AuthmaterialException}. If the
 * provider rejects the material, the client reports the rejection to the broker, and repeats the
 * request once if the broker has replaced the material and the request's body can be sent again. A
 * redirect to a host that is not allowed is sent without the material.
 *
 * <p>A program needs one client for each broker. The client is safe for use by many threads. Its
 * own threads do not keep the JVM running.
 */
public final class AuthmaterialClient implements AutoCloseable {
  private final Credentials credentials;

  private AuthmaterialClient(Settings settings) throws IOException {
    credentials = new Credentials(settings);
  }

  /**
   * Returns a builder of a client that connects to a broker by TLS.
   *
   * @param address the broker's address, such as {@code broker.example:50051}, {@code
   *     dns:///broker.example:50051} or {@code unix:///run/broker.sock}
   * @return the builder
   */
  public static Builder builder(String address) {
    return new Builder(address);
  }

  /**
   * Returns an {@code HttpClient} that adds the material of a credential to its requests, and
   * follows no redirects, as {@link HttpClient#newHttpClient()} does.
   *
   * @param credentialId the credential's ID
   * @return the HTTP client, which is safe for use by many threads
   */
  public HttpClient httpClient(String credentialId) {
    return httpClient(credentialId, HttpClient.newBuilder());
  }

  /**
   * Returns an {@code HttpClient} that adds the material of a credential to its requests.
   *
   * <p>The client follows redirects as the builder says. It does so itself, and checks each
   * redirect. A redirect that needs a body that cannot be sent again is not followed. A body can be
   * sent again if its publisher knows its length and does not come from {@code
   * BodyPublishers.fromPublisher}.
   *
   * <p>Use one client for all requests with the credential, because each has its own connections.
   * The client has no WebSockets and accepts no HTTP/2 pushes.
   *
   * @param credentialId the credential's ID
   * @param builder configures the HTTP client that sends the requests; after the call, the builder
   *     follows no redirects
   * @return the HTTP client, which is safe for use by many threads
   */
  public HttpClient httpClient(String credentialId, HttpClient.Builder builder) {
    return MaterialHttpClient.of(credentials.credential(credentialId), builder);
  }

  /**
   * Returns an adapter that adds the material of a credential to the requests of OkHttp. The
   * program needs the dependency {@code com.squareup.okhttp3:okhttp-jvm} (or {@code okhttp} before
   * version 5).
   *
   * @param credentialId the credential's ID
   * @return the adapter
   */
  public OkHttpAdapter okhttp(String credentialId) {
    return new OkHttpAdapter(credentials.credential(credentialId));
  }

  /**
   * Returns an adapter that adds the material of a credential to the requests of Spring's {@code
   * RestClient} and {@code RestTemplate}. The program needs the dependency {@code
   * org.springframework:spring-web}.
   *
   * @param credentialId the credential's ID
   * @return the adapter
   */
  public SpringAdapter spring(String credentialId) {
    return new SpringAdapter(credentials.credential(credentialId));
  }

  /**
   * Ends the streams and calls, and reports the last uses of versions to the broker, for which it
   * waits up to 2 seconds. Requests after that fail.
   */
  @Override
  public void close() {
    credentials.close();
  }

  @Override
  public String toString() {
    return "AuthmaterialClient";
  }

  /** Configures a client. */
  public static final class Builder {
    private final String address;
    private boolean plaintext;
    private Path caFile;
    private Path certificateFile;
    private Path keyFile;
    private String serverName;
    private Path tokenFile;
    private Clock clock = Clock.systemUTC();

    private Builder(String address) {
      this.address = Objects.requireNonNull(address, "address");
    }

    /**
     * Connects without TLS, which is for tests and for Unix sockets.
     *
     * @return this builder
     */
    public Builder plaintext() {
      plaintext = true;
      return this;
    }

    /**
     * Sets the authorities that sign the broker's certificate. By default, the authorities of the
     * Java runtime are trusted.
     *
     * @param file the path of a PEM file with certificates
     * @return this builder
     */
    public Builder caFile(Path file) {
      caFile = Objects.requireNonNull(file);
      return this;
    }

    /**
     * Sets the client certificate. The files are read again when they change.
     *
     * @param certificate the path of a PEM file with the certificate, followed by any intermediate
     *     certificates
     * @param key the path of a PEM file with the private key in PKCS #8 format ({@code BEGIN
     *     PRIVATE KEY})
     * @return this builder
     */
    public Builder certificateFile(Path certificate, Path key) {
      certificateFile = Objects.requireNonNull(certificate);
      keyFile = Objects.requireNonNull(key);
      return this;
    }

    /**
     * Sets the name that the broker's certificate must contain. The default is the host of the
     * address.
     *
     * @param name the name
     * @return this builder
     */
    public Builder serverName(String name) {
      serverName = Objects.requireNonNull(name);
      return this;
    }

    /**
     * Sets the file with the token for the broker, which is read for each call.
     *
     * @param file the path of the file, which has at most 64 KiB; white space around the token is
     *     removed
     * @return this builder
     */
    public Builder tokenFile(Path file) {
      tokenFile = Objects.requireNonNull(file);
      return this;
    }

    /**
     * Sets the clock by which the client decides how long it uses material, for tests with a
     * simulated clock. Timeouts and pauses between attempts use the real clock in any case.
     *
     * @param clock the clock; the default is the system's clock
     * @return this builder
     */
    public Builder clock(Clock clock) {
      this.clock = Objects.requireNonNull(clock);
      return this;
    }

    /**
     * Reads the files once to check them, and returns the client, which connects to the broker at
     * its first request.
     *
     * @return the client
     * @throws IOException if a file cannot be read or has no certificate, key or token, or the
     *     address is invalid
     */
    public AuthmaterialClient build() throws IOException {
      return new AuthmaterialClient(
          new Settings(
              address, plaintext, caFile, certificateFile, keyFile, serverName, tokenFile, clock));
    }
  }
}
