package com.authmaterial.client;

import java.io.IOException;
import java.time.Duration;
import java.util.Optional;

/**
 * The error of a request that was not sent, because there is no material for it, or because it must
 * not get the material. The text contains no secret.
 *
 * <p>Spring wraps the exception in a {@code ResourceAccessException}, whose cause it is.
 */
public final class AuthmaterialException extends IOException {
  private static final long serialVersionUID = 1;

  /**
   * The reason that means: there is no material that can be used, and the broker did not answer.
   */
  public static final String BROKER_UNREACHABLE = "BROKER_UNREACHABLE";

  /**
   * The reason that means: the material must not be sent to the host of the request, or not without
   * https. Nothing was sent.
   */
  public static final String HOST_NOT_ALLOWED = "HOST_NOT_ALLOWED";

  /** Why the request was not sent. */
  private final String reason;

  /** The credential that the request needs. */
  private final String credentialId;

  /** How long to wait before a retry, or null. */
  private final Duration retryDelay;

  AuthmaterialException(
      String reason, String credentialId, Duration retryDelay, String message, Throwable cause) {
    super(message, cause);
    this.reason = reason;
    this.credentialId = credentialId;
    this.retryDelay = retryDelay;
  }

  /**
   * Returns why the request was not sent.
   *
   * @return a constant of this class, or a reason of the broker, such as {@code ACCESS_DENIED}
   */
  public String reason() {
    return reason;
  }

  /**
   * Returns the ID of the credential that the request needs.
   *
   * @return the ID
   */
  public String credentialId() {
    return credentialId;
  }

  /**
   * Returns how long to wait before a retry.
   *
   * @return the delay, if the broker named one
   */
  public Optional<Duration> retryDelay() {
    return Optional.ofNullable(retryDelay);
  }

  /** Returns the same error with the stack of the current thread. */
  AuthmaterialException again() {
    return new AuthmaterialException(reason, credentialId, retryDelay, getMessage(), getCause());
  }

  static AuthmaterialException hostNotAllowed(String credentialId, String message) {
    return new AuthmaterialException(HOST_NOT_ALLOWED, credentialId, null, message, null);
  }

  static AuthmaterialException closed(String credentialId) {
    return of(BROKER_UNREACHABLE, credentialId, null, "the client is closed", null);
  }

  static AuthmaterialException of(
      String reason, String credentialId, Duration retryDelay, String text, Throwable cause) {
    String message =
        "get the material of credential \"" + credentialId + "\": " + reason + ": " + text;
    return new AuthmaterialException(reason, credentialId, retryDelay, message, cause);
  }
}
