package com.authmaterial.client;

import com.authmaterial.v1.Header;
import com.authmaterial.v1.QueryParam;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Removes material that a provider has copied into the header Location of its response. */
final class Location {
  /** The length of the shortest secret value to look for: a shorter one can occur by chance. */
  private static final int MIN_MATERIAL = 4;

  /** A URL inside a query parameter of another URL is escaped twice. */
  private static final int MAX_UNESCAPE = 3;

  private Location() {}

  /**
   * Removes the material's query parameters from a Location header.
   *
   * @param asked the URL of the program's request; values that it contains are not secret
   * @return the header, or null if it still contains material
   */
  static String clean(String location, String asked, Prepared material) {
    int fragment = location.indexOf('#');
    String url = fragment < 0 ? location : location.substring(0, fragment);
    int question = url.indexOf('?');
    String cleaned = location;
    if (question >= 0) {
      String query = url.substring(question + 1);
      String others = Query.remove(query, material.params);
      if (!others.equals(query)) {
        cleaned =
            url.substring(0, question)
                + (others.isEmpty() ? "" : "?" + others)
                + (fragment < 0 ? "" : location.substring(fragment));
      }
    }
    return hasMaterial(cleaned, asked, material) ? null : cleaned;
  }

  private static boolean hasMaterial(String location, String asked, Prepared material) {
    List<String> values = new ArrayList<>();
    for (Header header : material.headers) {
      values.add(withoutScheme(header.getValue()));
    }
    for (QueryParam param : material.params) {
      values.add(param.getValue());
    }
    String found = unescape(location);
    String own = unescape(asked);
    for (String value : values) {
      String plain = value.replace('+', ' ');
      if (plain.length() >= MIN_MATERIAL && found.contains(plain) && !own.contains(plain)) {
        return true;
      }
    }
    return false;
  }

  /** Returns only the token of a header value such as "Bearer TOKEN". */
  private static String withoutScheme(String value) {
    int space = value.indexOf(' ');
    return space >= 0 && value.length() - space > MIN_MATERIAL ? value.substring(space + 1) : value;
  }

  /** Returns a URL unchanged, unescaped once, unescaped twice and so on, each on its own line. */
  private static String unescape(String text) {
    StringBuilder forms = new StringBuilder(text);
    String form = text;
    for (int i = 0; i < MAX_UNESCAPE && form.indexOf('%') >= 0; i++) {
      form = unescapeOnce(form);
      forms.append('\n').append(form);
    }
    return forms.toString().replace('+', ' ');
  }

  private static String unescapeOnce(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    ByteBuffer plain = ByteBuffer.allocate(bytes.length);
    for (int i = 0; i < bytes.length; i++) {
      int high = i + 2 < bytes.length && bytes[i] == '%' ? Character.digit(bytes[i + 1], 16) : -1;
      int low = high >= 0 ? Character.digit(bytes[i + 2], 16) : -1;
      if (low >= 0) {
        plain.put((byte) (high << 4 | low));
        i += 2;
      } else {
        plain.put(bytes[i]);
      }
    }
    return new String(plain.array(), 0, plain.position(), StandardCharsets.UTF_8);
  }
}
