export function hasParam(query: string, name: string): boolean {
  return query.split("&").some((pair) => isParam(pair, name));
}

export function removeParam(query: string, name: string): string {
  return query
    .split("&")
    .filter((pair) => !isParam(pair, name))
    .join("&");
}

function isParam(pair: string, name: string): boolean {
  const [key = ""] = pair.split("=", 1);
  try {
    return decodeURIComponent(key.replaceAll("+", " ")) === name;
  } catch {
    return false;
  }
}

/** A URL inside a query parameter of another URL is percent-encoded twice. */
const maxUnescape = 3;

/**
 * Returns several forms of a URL, each on its own line: unchanged, percent-decoded once, twice, and
 * so on. Each plus sign becomes a space, because a space in a query can be encoded as a plus sign.
 */
export function unescape(text: string): string {
  const forms = [text];
  for (let i = 0; i < maxUnescape; i++) {
    text = text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (encoded) =>
      Buffer.from(encoded.replaceAll("%", ""), "hex").toString(),
    );
    forms.push(text);
  }
  return forms.join("\n").replaceAll("+", " ");
}
