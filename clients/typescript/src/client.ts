import { Core } from "./core.js";
import { wrapFetch } from "./fetch.js";
import type { ClientOptions, Fetch } from "./options.js";

/**
 * Adds the broker's material to HTTP requests. A client keeps a copy of the material of each
 * credential, which the broker keeps up to date, so that a request normally needs no call to the
 * broker. A program needs one client for each broker, and one in each worker thread that makes
 * requests.
 */
export class Client {
  readonly #core: Core;

  /**
   * The address is `https://HOST:PORT`, `unix:///PATH` or, for a broker without TLS,
   * `http://HOST:PORT`. The constructor reads the certificate files to check them, and makes no
   * call.
   */
  constructor(address: string, options: ClientOptions = {}) {
    this.#core = new Core(address, options, options.clock ?? Date.now);
  }

  /**
   * Returns a function like the global `fetch` that adds the material of a credential to its
   * requests. `base` sends the requests; the default is the global `fetch`.
   */
  fetch(credentialId: string, base: Fetch = (input, init) => fetch(input, init)): Fetch {
    return wrapFetch(this.#core.credential(credentialId), base);
  }

  /**
   * Ends the client's streams and calls, and reports the last uses of versions to the broker, for
   * which it waits up to 2 seconds. Requests after that fail.
   */
  async close(): Promise<void> {
    await this.#core.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
