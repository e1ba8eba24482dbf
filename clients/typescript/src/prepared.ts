import { timestampMs } from "@bufbuild/protobuf/wkt";

import { AuthmaterialError } from "./errors.js";
import type { AuthDecoration } from "./gen/authmaterial/v1/auth_decoration_pb.js";
import { isHeaderName, isHeaderValue } from "./headers.js";
import { hasParam, removeParam, unescape } from "./query.js";
import { Rejection } from "./rejection.js";

/** Location headers may contain a shorter value than this number of characters by chance. */
const minMaterial = 4;

/** A decoration in the form in which requests need it. It is immutable, apart from `nextUse`. */
export class Prepared {
  readonly credentialId: string;
  readonly version: string;
  /** The next use at or after this time must be recorded. Earlier uses are recorded already. */
  nextUse = 0;
  readonly rejection: Rejection;
  readonly #headers: [lowerCaseName: string, value: string][];
  readonly #onlyIfAbsent: Set<string>;
  readonly #params: [name: string, value: string][];
  readonly #query: string;
  readonly #hosts: Set<string>;
  readonly #expires: number;

  /** Throws an error whose message contains no secret if the decoration cannot be used. */
  constructor(decoration: AuthDecoration) {
    for (const { name, value } of decoration.headers) {
      if (!isHeaderName(name) || !isHeaderValue(value)) {
        throw new Error("the decoration has a header that is not valid");
      }
    }
    this.credentialId = decoration.credentialId;
    this.version = decoration.version;
    this.#headers = decoration.headers.map(({ name, value }) => [name.toLowerCase(), value]);
    this.#onlyIfAbsent = new Set(
      decoration.headers.filter(({ onlyIfAbsent }) => onlyIfAbsent).map(({ name }) => name.toLowerCase()),
    );
    this.#params = decoration.queryParams.map(({ name, value }) => [name, value]);
    this.#query = this.#params.map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
    this.#hosts = new Set(decoration.allowedHosts.map(withPort));
    this.#expires = decoration.expireTime ? timestampMs(decoration.expireTime) : Infinity;
    this.refreshTime = decoration.refreshTime ? timestampMs(decoration.refreshTime) : Infinity;
    this.rejection = new Rejection(decoration);
  }

  readonly refreshTime: number;

  expired(now: number): boolean {
    return now >= this.#expires;
  }

  /** Returns an error with the reason HOST_NOT_ALLOWED if a request must not get the material. */
  check(url: URL, hostHeader?: string | null): AuthmaterialError | undefined {
    const port = url.port || (url.protocol === "https:" ? "443" : "80");
    if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback(url.hostname))) {
      return this.refuse(`the URL of ${url.hostname} is not https`);
    }
    if (!this.#hosts.has(`${url.hostname}:${port}`)) {
      return this.refuse(`${url.hostname} port ${port} is not among the allowed hosts ${[...this.#hosts].join(", ")}`);
    }
    if (hostHeader != null && hostHeader.toLowerCase() !== url.host) {
      return this.refuse("the Host header differs from the host of the URL");
    }
    return undefined;
  }

  refuse(why: string): AuthmaterialError {
    const id = JSON.stringify(this.credentialId);
    const message = `the material of credential ${id} must not be sent to this host: ${why}`;
    return new AuthmaterialError("HOST_NOT_ALLOWED", this.credentialId, message);
  }

  /**
   * Returns the headers to set on a request, with names in lower case. They are secret.
   * `isPresent` reports whether the request has a header.
   */
  headersFor(isPresent: (lowerCaseName: string) => boolean): [lowerCaseName: string, value: string][] {
    return this.#headers.filter(([name]) => !this.#onlyIfAbsent.has(name) || !isPresent(name));
  }

  /** Reports whether the material replaces a header. */
  replaces(name: string): boolean {
    const lower = name.toLowerCase();
    return !this.#onlyIfAbsent.has(lower) && this.#headers.some(([other]) => other === lower);
  }

  get hasParams(): boolean {
    return this.#params.length > 0;
  }

  /**
   * Returns a query, with or without "?" at its start, in which the material's parameters replace
   * those with the same name. The other parameters keep their order and encoding.
   */
  withParams(search: string): string {
    if (!this.hasParams) {
      return search;
    }
    const others = this.withoutParams(search).replace(/^\?/, "");
    return `?${others}${others && "&"}${this.#query}`;
  }

  withoutParams(search: string): string {
    let query = search.replace(/^\?/, "");
    for (const [name] of this.#params) {
      if (hasParam(query, name)) {
        query = removeParam(query, name);
      }
    }
    return query && `?${query}`;
  }

  /**
   * Removes the material's query parameters from a Location header. Returns undefined if the header
   * then still contains a secret, or is not a URL. The values in the URL of the program's request
   * are not secret.
   */
  cleanLocation(location: string, asked: URL): string | undefined {
    if (!URL.canParse(location, asked.href)) {
      return undefined;
    }
    let cleaned = location;
    const [, before = "", query, fragment = ""] = /^([^?#]*)(\?[^#]*)?(#.*)?$/s.exec(location) ?? [];
    if (query) {
      const others = this.withoutParams(query);
      cleaned = others === query ? location : before + others + fragment;
    }
    return this.isIn(cleaned, asked.href) ? undefined : cleaned;
  }

  /** Reports whether a text contains a secret that is not in another text. */
  isIn(text: string, known = ""): boolean {
    const texts = unescape(text);
    const knownTexts = unescape(known);
    const secrets = [
      ...this.#headers.map(([, value]) => withoutScheme(value)),
      ...this.#params.map(([, value]) => value),
    ];
    return secrets
      .map((secret) => secret.replaceAll("+", " "))
      .some((secret) => secret.length >= minMaterial && texts.includes(secret) && !knownTexts.includes(secret));
  }
}

function withPort(host: string): string {
  const [, name = host, port = "443"] = /^(\[.*\]|[^:]*):(\d+)$/.exec(host) ?? [];
  const bracketed = name.includes(":") && !name.startsWith("[") ? `[${name}]` : name;
  return `${bracketed}:${port}`;
}

function isLoopback(hostname: string): boolean {
  return /^127\.\d+\.\d+\.\d+$/.test(hostname) || hostname === "[::1]";
}

/** Returns only the token of a header value such as "Bearer TOKEN". */
function withoutScheme(value: string): string {
  const token = value.slice(value.indexOf(" ") + 1);
  return token.length >= minMaterial ? token : value;
}
