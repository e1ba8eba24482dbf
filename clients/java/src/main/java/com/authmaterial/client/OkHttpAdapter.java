package com.authmaterial.client;

import okhttp3.OkHttpClient;

/** Adds the material of a credential to the requests of OkHttp. */
public final class OkHttpAdapter {
  private final Credential credential;

  OkHttpAdapter(Credential credential) {
    this.credential = credential;
  }

  /**
   * Makes a client add the material to each request. A client can have the material of one
   * credential only.
   *
   * <p>The method adds an application interceptor and a network interceptor. Neither the program's
   * requests nor its responses contain the material; application interceptors do not see it either.
   * Network interceptors that are added later, and event listeners, see the material, so they must
   * not log headers or URLs. Clients with different credentials must not share a {@code Cache}.
   *
   * <p>Requests fail with an {@link AuthmaterialException}, which is an {@code IOException}.
   * WebSockets are not supported.
   *
   * @param builder the builder of the client
   * @return the builder
   */
  public OkHttpClient.Builder install(OkHttpClient.Builder builder) {
    return builder
        .addInterceptor(new OkHttpInterceptor(credential))
        .addNetworkInterceptor(new OkHttpNetworkInterceptor());
  }

  @Override
  public String toString() {
    return "OkHttpAdapter for " + credential;
  }
}
