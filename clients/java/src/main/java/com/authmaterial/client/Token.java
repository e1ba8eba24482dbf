package com.authmaterial.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.Executor;
import java.util.regex.Pattern;

/** Sends the token for the broker, which it reads from a file for each call. */
final class Token extends CallCredentials {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  private static final int MAX_FILE = 64 << 10;
  private static final int MAX_TOKEN = 8 << 10;

  /** The characters that a bearer token may contain (RFC 6750). */
  private static final Pattern CHARACTERS = Pattern.compile("[A-Za-z0-9._~+/=-]+");

  private final Path file;

  Token(Path file) {
    this.file = file;
  }

  @Override
  public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
    executor.execute(
        () -> {
          try {
            Metadata headers = new Metadata();
            headers.put(AUTHORIZATION, "Bearer " + read());
            applier.apply(headers);
          } catch (IOException e) {
            applier.fail(
                Status.UNAUTHENTICATED.withDescription(
                    "read the token for the broker: " + e.getMessage()));
          }
        });
  }

  /** Returns the token. The error does not contain the token. */
  String read() throws IOException {
    byte[] contents = RegularFile.read(file, MAX_FILE);
    String text = new String(contents, StandardCharsets.ISO_8859_1).strip();
    if (text.length() > MAX_TOKEN) {
      throw new IOException(file + " has more than " + MAX_TOKEN + " bytes, the limit for a token");
    }
    if (!CHARACTERS.matcher(text).matches()) {
      throw new IOException(file + " is empty, or has characters that no token may contain");
    }
    return text;
  }

  @Override
  public String toString() {
    return "token in " + file;
  }
}
