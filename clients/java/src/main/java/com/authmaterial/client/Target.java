package com.authmaterial.client;

import java.net.URI;
import java.util.Collection;
import java.util.Locale;

/**
 * The place to which a request is sent.
 *
 * @param scheme the URL's scheme, in lower case
 * @param host the URL's host, in lower case and without brackets
 * @param port the URL's port, or the usual port of the scheme
 * @param error why the request cannot get material, or null
 */
record Target(String scheme, String host, int port, String error) {
  /** Returns the target of a request with a URL and values of the header Host. */
  static Target of(URI url, Collection<String> hostHeaders) {
    String scheme = lower(url.getScheme());
    String host = Prepared.withoutBrackets(lower(url.getHost()));
    int port = url.getPort() >= 0 ? url.getPort() : scheme.equals("https") ? 443 : 80;
    return of(scheme, host, port, hostHeaders);
  }

  static Target of(String scheme, String host, int port, Collection<String> hostHeaders) {
    String error = host.isEmpty() ? "the URL has no valid host" : null;
    for (String header : hostHeaders) {
      if (!names(header, scheme, host, port)) {
        error = "the header Host differs from the host of the URL";
      }
    }
    return new Target(scheme, host, port, error);
  }

  private static boolean names(String header, String scheme, String host, int port) {
    String name = host.contains(":") ? "[" + host + "]" : host;
    boolean usual = port == (scheme.equals("https") ? 443 : 80);
    return header.equalsIgnoreCase(name + ":" + port) || usual && header.equalsIgnoreCase(name);
  }

  private static String lower(String text) {
    return text == null ? "" : text.toLowerCase(Locale.ROOT);
  }
}
