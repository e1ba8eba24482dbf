import { stringify } from "node:querystring";

import type { Dispatcher } from "undici";

export type Options = Dispatcher.DispatchOptions & { maxRedirections?: number };

/** Returns the URL of a request, or undefined if the interceptor cannot know it. */
export function urlOf({ origin, path, query, method }: Options): URL | undefined {
  const text = path.startsWith("/") && method !== "CONNECT" ? `${String(origin ?? "").replace(/\/$/, "")}${path}` : "";
  if (!URL.canParse(text)) {
    return undefined;
  }
  const url = new URL(text);
  if (query && Object.keys(query).length > 0) {
    url.search = stringify(query);
  }
  return url;
}

export function pairs(headers: Options["headers"]): [name: string, value: string][] {
  if (!headers) {
    return [];
  }
  if (Array.isArray(headers) && !Array.isArray(headers[0])) {
    return headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1] ?? ""] as [string, string]] : []));
  }
  const entries = (Symbol.iterator in headers ? [...headers] : Object.entries(headers)) as [
    string,
    string | string[],
  ][];
  return entries.flatMap(([name, value]) => [value].flat().map((one) => [name, one] as [string, string]));
}

export function hostOf(headers: [name: string, value: string][]): string | undefined {
  return headers.find(([name]) => name.toLowerCase() === "host")?.[1];
}
