package com.authmaterial.client;

import com.authmaterial.v1.QueryParam;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Changes encoded queries without touching the parameters that stay. */
final class Query {
  private Query() {}

  /** Returns the encoded parameters. */
  static String encode(List<QueryParam> params) {
    List<String> pairs = new ArrayList<>();
    for (QueryParam param : params) {
      pairs.add(encode(param.getName()) + "=" + encode(param.getValue()));
    }
    return String.join("&", pairs);
  }

  /** Replaces the material's parameters in a query, which may be null. */
  static String replace(String query, Prepared material) {
    String others = remove(query, material.params);
    return others == null || others.isEmpty() ? material.query : others + "&" + material.query;
  }

  /** Removes parameters from a query, which may be null. The others stay as they are. */
  static String remove(String query, List<QueryParam> params) {
    if (query == null || params.isEmpty()) {
      return query;
    }
    List<String> kept = new ArrayList<>();
    boolean removed = false;
    for (String pair : query.split("&", -1)) {
      if (isOneOf(pair, params)) {
        removed = true;
      } else {
        kept.add(pair);
      }
    }
    return removed ? String.join("&", kept) : query;
  }

  private static boolean isOneOf(String pair, List<QueryParam> params) {
    int end = pair.indexOf('=');
    String name;
    try {
      name = URLDecoder.decode(end < 0 ? pair : pair.substring(0, end), StandardCharsets.UTF_8);
    } catch (IllegalArgumentException e) {
      return false; // a broken percent-encoding
    }
    for (QueryParam param : params) {
      if (param.getName().equals(name)) {
        return true;
      }
    }
    return false;
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
  }
}
