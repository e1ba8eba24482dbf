package com.authmaterial.client;

import com.authmaterial.v1.AuthDecorationError;
import com.authmaterial.v1.ErrorReason;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;

/** Makes an {@link AuthmaterialException} of the broker's errors. */
final class Errors {
  private static final Metadata.Key<String> REASON =
      Metadata.Key.of("authmaterial-error-reason", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> DELAY =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);
  private static final long MAX_DELAY = Duration.ofDays(1).toSeconds(); // longer ones are invalid
  private static final String DOMAIN = "authmaterial";
  private static final String PREFIX = "ERROR_REASON_";

  private Errors() {}

  /** Returns the error of a call that failed. */
  static AuthmaterialException ofCall(String credentialId, String address, Throwable failed) {
    Metadata trailers = Status.trailersFromThrowable(failed);
    String reason = null;
    Duration delay = null;
    for (Any detail : details(failed)) {
      try {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          reason = info.getDomain().equals(DOMAIN) ? info.getReason() : reason;
        } else if (detail.is(RetryInfo.class)) {
          delay = delay(detail.unpack(RetryInfo.class).getRetryDelay());
        }
      } catch (InvalidProtocolBufferException e) {
        continue; // the trailer also has the reason
      }
    }
    if (trailers != null) {
      reason = trailers.containsKey(REASON) ? trailers.get(REASON) : reason;
      delay = delay == null ? pushback(trailers.get(DELAY)) : delay;
    }
    Status status = Status.fromThrowable(failed);
    if (reason == null) {
      String text = "the call to the broker at " + address + " failed: " + text(status);
      return AuthmaterialException.of(
          AuthmaterialException.BROKER_UNREACHABLE, credentialId, delay, text, failed);
    }
    String text =
        status.getDescription() == null ? status.getCode().name() : status.getDescription();
    return AuthmaterialException.of(reason, credentialId, delay, text, failed);
  }

  private static List<Any> details(Throwable failed) {
    try {
      com.google.rpc.Status status = StatusProto.fromThrowable(failed);
      return status == null ? List.of() : status.getDetailsList();
    } catch (IllegalArgumentException e) { // the trailer with the details is invalid
      return List.of();
    }
  }

  /** Returns the error in the state of a watched credential. */
  static AuthmaterialException ofState(String credentialId, AuthDecorationError state) {
    String name =
        state.getReason() == ErrorReason.UNRECOGNIZED
            ? "ERROR_REASON_" + state.getReasonValue()
            : state.getReason().name();
    return AuthmaterialException.of(
        name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name,
        credentialId,
        state.hasRetryDelay() ? delay(state.getRetryDelay()) : null,
        state.getMessage(),
        null);
  }

  /** Returns the error for an answer that the client cannot use. */
  static AuthmaterialException unusable(String credentialId, String text) {
    return AuthmaterialException.of("INTERNAL", credentialId, null, text, null);
  }

  /** Returns the text of an error of gRPC, whose causes say what is wrong with a connection. */
  private static String text(Status status) {
    String text = status.getCode().name();
    if (status.getDescription() != null) {
      text += ": " + status.getDescription().lines().findFirst().orElse("");
    }
    for (Throwable cause = status.getCause(); cause != null; cause = cause.getCause()) {
      String message = cause.getMessage();
      if (message == null) {
        message = cause.getClass().getSimpleName();
      }
      text = text.contains(message) ? text : text + ": " + message;
    }
    return text;
  }

  private static Duration pushback(String milliseconds) {
    try {
      int delay = milliseconds == null ? 0 : Integer.parseInt(milliseconds);
      return delay > 0 ? Duration.ofMillis(delay) : null;
    } catch (NumberFormatException e) {
      return null;
    }
  }

  private static Duration delay(com.google.protobuf.Duration delay) {
    if (delay.getSeconds() < 0 || delay.getNanos() < 0) {
      return null;
    }
    long seconds = Math.min(delay.getSeconds(), MAX_DELAY);
    return seconds + delay.getNanos() == 0 ? null : Duration.ofSeconds(seconds, delay.getNanos());
  }
}
