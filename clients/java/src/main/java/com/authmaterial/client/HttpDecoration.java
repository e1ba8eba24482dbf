package com.authmaterial.client;

import com.authmaterial.v1.Header;
import java.net.URI;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Adds material to copies of requests of java.net.http, and removes it from responses. */
final class HttpDecoration {
  private HttpDecoration() {}

  static Target target(HttpRequest request) {
    return Target.of(request.uri(), request.headers().allValues("Host"));
  }

  /** Returns a copy of a request with the material. */
  static HttpRequest.Builder decorate(HttpRequest request, Prepared material)
      throws AuthmaterialException {
    HttpRequest.Builder decorated = without(request, material);
    for (Header header :
        material.headersFor(name -> request.headers().firstValue(name).isPresent())) {
      try {
        decorated.setHeader(header.getName(), header.getValue());
      } catch (IllegalArgumentException e) {
        throw material.refused(header);
      }
    }
    if (!material.query.isEmpty()) {
      decorated.uri(decorate(request.uri(), material));
    }
    return decorated;
  }

  private static URI decorate(URI url, Prepared material) {
    String path = url.getRawPath().isEmpty() ? "/" : url.getRawPath();
    String query = Query.replace(url.getRawQuery(), material);
    String fragment = url.getRawFragment() == null ? "" : "#" + url.getRawFragment();
    return URI.create(
        url.getScheme() + "://" + url.getRawAuthority() + path + "?" + query + fragment);
  }

  /** Returns a copy of a request without the headers that the material replaces. */
  static HttpRequest.Builder without(HttpRequest request, Prepared material) {
    return HttpRequest.newBuilder(request, (name, value) -> !material.replaces(name));
  }

  /**
   * Returns the headers of a response without material in the header Location.
   *
   * @param request the request of the program, without material
   */
  static HttpHeaders headers(HttpResponse<?> answer, HttpRequest request, Prepared material) {
    HttpHeaders headers = answer.headers();
    List<String> locations = headers.allValues("Location");
    if (locations.isEmpty()) {
      return headers;
    }
    List<String> cleaned =
        locations.stream()
            .map(location -> Location.clean(location, request.uri().toString(), material))
            .toList();
    if (cleaned.equals(locations)) {
      return headers;
    }
    Map<String, List<String>> changed = new HashMap<>(headers.map());
    changed.keySet().removeIf("Location"::equalsIgnoreCase);
    if (!cleaned.contains(null)) {
      changed.put("location", cleaned);
    }
    return HttpHeaders.of(changed, (name, value) -> true);
  }
}
