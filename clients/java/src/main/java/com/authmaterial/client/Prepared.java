package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.Header;
import com.authmaterial.v1.QueryParam;
import com.google.protobuf.Timestamp;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * A decoration in the form in which requests need it. It is immutable, apart from the time of its
 * next recorded use.
 */
final class Prepared {
  /** The work for each request grows with the number of headers and query parameters. */
  private static final int MAX_PLACES = 1000;

  private static final Pattern LOOPBACK =
      Pattern.compile("127\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}|::1|0:0:0:0:0:0:0:1");

  final String credentialId;
  final String version;
  final List<Header> headers;
  final List<QueryParam> params;

  /** The encoded query parameters. */
  final String query;

  /** The time from which on the copy must not be used, or Instant.MAX. */
  final Instant expires;

  /** The time from which on a client without a stream asks again, or Instant.MAX. */
  final Instant refresh;

  /** The second since 1970 from which on the next use must be recorded. */
  volatile long nextUse = Long.MIN_VALUE;

  private final List<String> allowedHosts;
  private final Set<String> hosts = new HashSet<>();
  final Rejection rejection;

  private Prepared(String credentialId, AuthDecoration decoration) {
    this.credentialId = credentialId;
    version = decoration.getVersion();
    headers = List.copyOf(decoration.getHeadersList());
    params = List.copyOf(decoration.getQueryParamsList());
    query = Query.encode(params);
    expires = decoration.hasExpireTime() ? instant(decoration.getExpireTime()) : Instant.MAX;
    refresh = decoration.hasRefreshTime() ? instant(decoration.getRefreshTime()) : Instant.MAX;
    allowedHosts = List.copyOf(decoration.getAllowedHostsList());
    allowedHosts.forEach(entry -> hosts.add(hostAndPort(entry)));
    rejection = new Rejection(decoration);
  }

  /** Throws if the decoration cannot be used. */
  static Prepared of(String credentialId, AuthDecoration decoration) throws AuthmaterialException {
    if (decoration.getHeadersCount() + decoration.getQueryParamsCount() > MAX_PLACES) {
      throw Errors.unusable(
          credentialId, "more than " + MAX_PLACES + " headers and query parameters");
    }
    try {
      return new Prepared(credentialId, decoration);
    } catch (DateTimeException e) {
      throw Errors.unusable(credentialId, "the broker's answer has an invalid time");
    }
  }

  boolean expired(Instant now) {
    return !now.isBefore(expires);
  }

  /** Reports whether the material replaces the header. */
  boolean replaces(String name) {
    for (Header header : headers) {
      if (header.getName().equalsIgnoreCase(name) && !header.getOnlyIfAbsent()) {
        return true;
      }
    }
    return false;
  }

  /** Returns the headers to set on a request. */
  List<Header> headersFor(Predicate<String> isPresent) {
    return headers.stream()
        .filter(header -> !header.getOnlyIfAbsent() || !isPresent.test(header.getName()))
        .toList();
  }

  /**
   * Returns the error for a header that the HTTP client refuses. The error of the HTTP client is
   * not its cause, because it contains the value.
   */
  AuthmaterialException refused(Header header) {
    return Errors.unusable(
        credentialId,
        "the HTTP client cannot send the name or the value of the header \""
            + header.getName()
            + "\"");
  }

  /** Throws HOST_NOT_ALLOWED if a request must not get the material. */
  void check(Target target) throws AuthmaterialException {
    String error = target.error();
    if (error == null && !target.scheme().equals("https") && !isLoopback(target)) {
      error = "the URL of " + target.host() + " is not https";
    }
    if (error == null && !hosts.contains(target.host() + ":" + target.port())) {
      error =
          String.format(
              "%s port %d is not among the allowed hosts %s",
              target.host(), target.port(), String.join(", ", allowedHosts));
    }
    if (error != null) {
      throw AuthmaterialException.hostNotAllowed(
          credentialId, "the material must not be sent to this host: " + error);
    }
  }

  /** Reports whether a request may get the material. */
  boolean allows(Target target) {
    try {
      check(target);
      return true;
    } catch (AuthmaterialException e) {
      return false;
    }
  }

  private static boolean isLoopback(Target target) {
    return target.scheme().equals("http") && LOOPBACK.matcher(target.host()).matches();
  }

  /** Parses an entry of allowed_hosts. An entry without a port allows only port 443. */
  private static String hostAndPort(String entry) {
    String lower = entry.toLowerCase(Locale.ROOT);
    int colon = lower.lastIndexOf(':');
    boolean port = colon > 0 && (lower.charAt(colon - 1) == ']' || lower.indexOf(':') == colon);
    return withoutBrackets(port ? lower.substring(0, colon) : lower)
        + ":"
        + (port ? lower.substring(colon + 1) : "443");
  }

  static String withoutBrackets(String host) {
    return host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
  }

  private static Instant instant(Timestamp time) {
    return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
  }

  @Override
  public String toString() {
    return "version " + version + " of the material of credential " + credentialId;
  }
}
