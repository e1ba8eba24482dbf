package com.authmaterial.client;

import java.nio.file.Path;
import java.time.Clock;

/** What {@link AuthmaterialClient.Builder} has collected. Paths and the server name may be null. */
record Settings(
    String address,
    boolean plaintext,
    Path caFile,
    Path certificateFile,
    Path keyFile,
    String serverName,
    Path tokenFile,
    Clock clock) {

  Settings {
    if ((certificateFile == null) != (keyFile == null)) {
      throw new IllegalArgumentException("set both certificateFile and keyFile, or neither");
    }
    if (plaintext && (caFile != null || certificateFile != null || serverName != null)) {
      throw new IllegalArgumentException(
          "plaintext: remove caFile, certificateFile, keyFile and serverName, which need TLS");
    }
    if (plaintext && tokenFile != null && !address.startsWith("unix:")) {
      throw new IllegalArgumentException(
          "plaintext: a token is sent only over TLS or a Unix socket");
    }
  }
}
