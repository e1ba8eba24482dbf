package com.authmaterial.client;

import com.authmaterial.v1.AuthDecoration;
import com.authmaterial.v1.HeaderCondition;
import com.authmaterial.v1.JsonCondition;
import com.authmaterial.v1.JsonMemberCondition;
import com.authmaterial.v1.RejectionCondition;
import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.TypeAdapter;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Pattern;

/** Recognises the responses with which a provider rejects a decoration. It is immutable. */
final class Rejection {
  /** The size of the largest body that is compared with a condition, in bytes. */
  static final int MAX_BODY = 64 << 10;

  private static final Pattern INDEX = Pattern.compile("0|[1-9][0-9]{0,5}");
  private static final TypeAdapter<JsonElement> JSON = new Gson().getAdapter(JsonElement.class);

  private final Set<Integer> statuses;
  private final List<RejectionCondition> conditions;

  Rejection(AuthDecoration decoration) {
    statuses = Set.copyOf(decoration.getRejectedStatusesList());
    conditions = List.copyOf(decoration.getRejectedWhenList());
  }

  /**
   * Whether a response is a rejection.
   *
   * @param rejected true if it is one, whatever its body is
   * @param undecided otherwise, the response is a rejection if its body matches one of these
   */
  record Decision(boolean rejected, List<JsonCondition> undecided) {}

  /** Decides by the status and the headers of a response. */
  Decision decide(int status, Function<String, List<String>> headers) {
    List<JsonCondition> undecided = new ArrayList<>();
    boolean rejected = statuses.contains(status);
    for (RejectionCondition condition : conditions) {
      if (condition.getStatusesList().contains(status)
          && hasHeaders(headers, condition.getHeadersList())) {
        rejected |= !condition.hasJson();
        undecided.add(condition.getJson());
      }
    }
    return new Decision(
        rejected, rejected || !readable(headers) ? List.of() : List.copyOf(undecided));
  }

  private static boolean hasHeaders(
      Function<String, List<String>> headers, List<HeaderCondition> wanted) {
    return wanted.stream()
        .allMatch(one -> String.join(", ", headers.apply(one.getName())).equals(one.getValue()));
  }

  private static boolean readable(Function<String, List<String>> headers) {
    String type = String.join(",", headers.apply("Content-Type")).split(";", 2)[0];
    String length = String.join(",", headers.apply("Content-Length"));
    boolean large = length.matches("\\d{1,18}") && Long.parseLong(length) > MAX_BODY;
    return !large && !type.strip().equalsIgnoreCase("text/event-stream");
  }

  /** Reports whether a complete body matches one of the conditions. */
  static boolean matches(byte[] body, List<JsonCondition> conditions) {
    if (body.length > MAX_BODY) {
      return false;
    }
    try {
      JsonElement document = parse(body);
      return conditions.stream()
          .anyMatch(
              one -> one.getMembersList().stream().allMatch(member -> matches(document, member)));
    } catch (IOException | RuntimeException | StackOverflowError e) {
      return false; // the body is not JSON
    }
  }

  private static JsonElement parse(byte[] body) throws IOException {
    String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(body)).toString();
    if (text.startsWith("\ufeff")) {
      throw new IOException("the text begins with a byte order mark, which JsonReader accepts");
    }
    JsonReader reader = new JsonReader(new StringReader(text));
    reader.setStrictness(Strictness.STRICT);
    JsonElement document = JSON.read(reader);
    if (reader.peek() != JsonToken.END_DOCUMENT) {
      throw new IOException("there is text after the JSON value");
    }
    return document;
  }

  private static boolean matches(JsonElement value, JsonMemberCondition condition) {
    for (String step : condition.getPathList()) {
      if (value.isJsonObject()) {
        value = value.getAsJsonObject().get(step);
      } else if (value.isJsonArray()
          && INDEX.matcher(step).matches()
          && Integer.parseInt(step) < value.getAsJsonArray().size()) {
        value = value.getAsJsonArray().get(Integer.parseInt(step));
      } else {
        return false;
      }
      if (value == null) {
        return false;
      }
    }
    JsonPrimitive scalar = value.isJsonPrimitive() ? value.getAsJsonPrimitive() : null;
    boolean equal =
        switch (condition.getValueCase()) {
          case STRING_VALUE ->
              scalar != null
                  && scalar.isString()
                  && scalar.getAsString().equals(condition.getStringValue());
          case NUMBER_VALUE ->
              scalar != null
                  && scalar.isNumber()
                  && scalar.getAsDouble() == condition.getNumberValue();
          case BOOL_VALUE ->
              scalar != null
                  && scalar.isBoolean()
                  && scalar.getAsBoolean() == condition.getBoolValue();
          case VALUE_NOT_SET -> condition.getNegated(); // a newer broker's condition
        };
    return equal != condition.getNegated();
  }
}
