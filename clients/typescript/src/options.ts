/** How to connect to the broker. */
export interface ConnectionOptions {
  /** The path of a PEM file with the trusted authorities. The default is the authorities of Node.js. */
  caFile?: string | undefined;
  /**
   * The path of a PEM file with the client certificate, followed by any intermediate certificates.
   * Set both `certificateFile` and `keyFile`, or neither.
   */
  certificateFile?: string | undefined;
  /** The path of a PEM file with the private key of the client certificate. */
  keyFile?: string | undefined;
  /** A name that the broker's certificate must contain. The default is the host of the address. */
  serverName?: string | undefined;
  /**
   * The path of a file with the token for the broker. The file is read for each call, so a token
   * that Kubernetes or another program renews takes effect at once. A token is never sent over
   * plain TCP.
   */
  tokenFile?: string | undefined;
}

export interface ClientOptions extends ConnectionOptions {
  /**
   * Returns the time in milliseconds since 1970, for tests with a simulated clock. The default is
   * `Date.now`. Timeouts and pauses between attempts use the real clock in any case.
   */
  clock?: (() => number) | undefined;
}

/** A function like the global `fetch`. */
export type Fetch = typeof globalThis.fetch;

/** An instance of axios 1. */
export interface AxiosLike {
  defaults: { adapter?: unknown };
  getUri(config?: never): string;
}
