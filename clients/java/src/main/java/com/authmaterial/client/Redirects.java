package com.authmaterial.client;

import java.net.URI;
import java.net.http.HttpClient.Redirect;
import java.net.http.HttpRequest;
import java.util.Locale;
import java.util.Set;

/** Follows redirects by the rules of java.net.http. */
final class Redirects {
  static final int LIMIT = Integer.getInteger("jdk.httpclient.redirects.retrylimit", 5);

  private static final Set<Integer> STATUSES = Set.of(301, 302, 303, 307, 308);

  /** Headers of the program that are not for another origin. */
  private static final Set<String> ORIGIN_HEADERS =
      Set.of("authorization", "cookie", "proxy-authorization", "host");

  private Redirects() {}

  /**
   * Returns the request that follows a redirect, or null if the redirect is not followed.
   *
   * @param request the request that was answered, without material
   * @param location the response's header Location, without material, or null
   */
  static HttpRequest next(Redirect policy, HttpRequest request, int status, String location) {
    if (policy == Redirect.NEVER || !STATUSES.contains(status) || location == null) {
      return null;
    }
    URI target = target(request.uri(), location);
    if (target == null || !allowed(policy, request.uri(), target)) {
      return null;
    }
    boolean toGet = status == 303 || status <= 302 && request.method().equals("POST");
    if (!toGet && !Bodies.repeatable(request)) {
      return null;
    }
    boolean sameOrigin = sameOrigin(request.uri(), target);
    HttpRequest.Builder next =
        HttpRequest.newBuilder(
            request, (name, value) -> kept(name.toLowerCase(Locale.ROOT), sameOrigin, toGet));
    if (toGet) {
      next.GET();
    }
    return next.uri(target).build();
  }

  private static boolean kept(String name, boolean sameOrigin, boolean toGet) {
    return (sameOrigin || !ORIGIN_HEADERS.contains(name))
        && !(toGet && name.startsWith("content-"));
  }

  private static URI target(URI base, String location) {
    try {
      // URI.resolve would remove the last part of the path.
      String reference = location.startsWith("?") ? base.getRawPath() + location : location;
      URI target = base.resolve(reference);
      return target.getHost() == null ? null : target;
    } catch (IllegalArgumentException e) {
      return null;
    }
  }

  private static boolean allowed(Redirect policy, URI from, URI to) {
    boolean secure = to.getScheme().equalsIgnoreCase("https");
    boolean web = secure || to.getScheme().equalsIgnoreCase("http");
    return web
        && (policy == Redirect.ALWAYS || secure || from.getScheme().equalsIgnoreCase("http"));
  }

  private static boolean sameOrigin(URI a, URI b) {
    return a.getScheme().equalsIgnoreCase(b.getScheme())
        && a.getHost().equalsIgnoreCase(b.getHost())
        && Target.of(a, Set.of()).port() == Target.of(b, Set.of()).port();
  }
}
