/**
 * Adds the broker's material to the HTTP requests of Java programs.
 *
 * <p>An {@link com.authmaterial.client.AuthmaterialClient} keeps a copy of the material of each
 * credential up to date, so that a request normally needs no call to the broker. It adds the
 * material to the requests of OkHttp, of {@code java.net.http} and of Spring's {@code RestClient}
 * and {@code RestTemplate}.
 *
 * <p>No parameter may be null, and no method returns null.
 */
package com.authmaterial.client;
