package com.authmaterial.client;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.authmaterial.v1.JsonCondition;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import org.junit.jupiter.api.Test;

class RejectionTest {
  @Test
  void aByteOrderMarkIsNotJson() {
    assertTrue(matches("{}"));
    assertFalse(matches("\ufeff{}"));
  }

  private static boolean matches(String body) {
    return Rejection.matches(
        body.getBytes(StandardCharsets.UTF_8), List.of(JsonCondition.getDefaultInstance()));
  }

  @Test
  void aBodyThatIsCancelledBeforeItBeginsIsCancelledLater() {
    CompletableFuture<Flow.Subscriber<? super List<ByteBuffer>>> subscriber =
        new CompletableFuture<>();
    PeekedBody body = new PeekedBody(subscriber::complete);
    body.cancel();
    CompletableFuture<Boolean> cancelled = new CompletableFuture<>();
    subscriber
        .join()
        .onSubscribe(
            new Flow.Subscription() {
              @Override
              public void request(long n) {
                cancelled.complete(false);
              }

              @Override
              public void cancel() {
                cancelled.complete(true);
              }
            });
    assertTrue(cancelled.getNow(false));
  }
}
