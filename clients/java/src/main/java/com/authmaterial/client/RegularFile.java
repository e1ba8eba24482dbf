package com.authmaterial.client;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Reads files whose names the program gives. */
final class RegularFile {
  private RegularFile() {}

  /** Returns the bytes of a file, of which there are at most `max`. Errors contain no bytes. */
  static byte[] read(Path file, int max) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new IOException(file + " is not a regular file, or does not exist");
    }
    if (Files.size(file) > max) {
      throw new IOException(file + " has more than " + max + " bytes");
    }
    return Files.readAllBytes(file);
  }
}
