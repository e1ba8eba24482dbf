package com.authmaterial.client;

import com.authmaterial.v1.Header;
import java.io.IOException;
import java.util.List;
import okhttp3.HttpUrl;
import okhttp3.Interceptor;
import okhttp3.Request;
import okhttp3.Response;

/**
 * The network interceptor. It adds the material to each request on its way to an allowed host, also
 * after redirects, and takes it from the responses.
 */
final class OkHttpNetworkInterceptor implements Interceptor {
  @Override
  public Response intercept(Chain chain) throws IOException {
    Request request = chain.request();
    OkHttpInterceptor.Attempt attempt = request.tag(OkHttpInterceptor.Attempt.class);
    if (attempt == null) { // for example, a request to a proxy
      return chain.proceed(request);
    }
    Prepared material = attempt.material;
    boolean allowed = material.allows(OkHttpInterceptor.target(request));
    attempt.seen = true;
    attempt.decorated = allowed;
    Response response =
        chain.proceed(allowed ? decorate(request, material) : without(request, material));
    return clean(response.newBuilder().request(request), response, request, material);
  }

  /** Returns a copy of a request with the material. */
  static Request decorate(Request request, Prepared material) throws AuthmaterialException {
    Request.Builder decorated = request.newBuilder();
    for (Header header : material.headersFor(name -> request.header(name) != null)) {
      try {
        decorated.header(header.getName(), header.getValue());
      } catch (IllegalArgumentException e) {
        throw material.refused(header);
      }
    }
    if (!material.query.isEmpty()) {
      HttpUrl url = request.url();
      String query = Query.replace(url.encodedQuery(), material);
      decorated.url(url.newBuilder().encodedQuery(query).build());
    }
    return decorated.build();
  }

  private static Request without(Request request, Prepared material) {
    Request.Builder without = request.newBuilder();
    material.headers.stream()
        .map(Header::getName)
        .filter(material::replaces)
        .forEach(without::removeHeader);
    return without.build();
  }

  /** Removes material from the header Location. */
  private static Response clean(
      Response.Builder cleaned, Response response, Request request, Prepared material) {
    List<String> locations = response.headers("Location");
    if (!locations.isEmpty()) {
      cleaned.removeHeader("Location");
      for (String location : locations) {
        String clean = Location.clean(location, request.url().toString(), material);
        if (clean != null) {
          cleaned.addHeader("Location", clean);
        }
      }
    }
    return cleaned.build();
  }
}
