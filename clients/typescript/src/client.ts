import type { AxiosInstance } from "axios";

import { installAxios } from "./axios.js";
import { Core } from "./core.js";
import { wrapFetch } from "./fetch.js";
import { interceptor } from "./undici.js";
import type { AxiosLike, ClientOptions, Fetch } from "./options.js";

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
   * Returns an interceptor for the method `compose` of a dispatcher of undici 7. It adds the material
   * of a credential to the requests of the dispatcher.
   *
   * The order of this interceptor and `interceptors.redirect()` does not matter, with one exception:
   * if redirect() is the first, up to 20 redirects are followed, unless a request has its own limit.
   */
  undici(credentialId: string): <Dispatch>(dispatch: Dispatch) => Dispatch {
    return interceptor(this.#core.credential(credentialId)) as <Dispatch>(dispatch: Dispatch) => Dispatch;
  }

  /**
   * Makes an instance of axios add the material of a credential to its requests, and returns the
   * instance. Redirects are followed by the client, up to 20 or `maxRedirects`.
   *
   * Errors and responses of the instance have the program's `config`, and as their `request` an
   * object with `method`, `protocol`, `host`, `path` and `res.responseUrl` only.
   */
  axios<Instance extends AxiosLike>(credentialId: string, instance: Instance): Instance {
    installAxios(this.#core.credential(credentialId), instance as unknown as AxiosInstance);
    return instance;
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
