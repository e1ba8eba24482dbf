import { setMaxListeners } from "node:events";

import { Connection } from "./connection.js";
import { Credential } from "./credential.js";
import type { ConnectionOptions } from "./options.js";
import { Usage } from "./usage.js";
import { Watches } from "./watch.js";

/** How long closing waits for the last report of uses. */
const closeTimeout = 2_000;

/** What all adapters of a client share. */
export class Core {
  readonly connection: Connection;
  /** The current time in milliseconds since 1970. */
  readonly now: () => number;
  readonly watches = new Watches(this);
  readonly usage = new Usage(this);
  readonly #stop = new AbortController();
  readonly #credentials = new Map<string, Credential>();
  #waiting = 0;
  #keepAlive: NodeJS.Timeout | undefined;

  constructor(address: string, options: ConnectionOptions, now: () => number) {
    this.connection = new Connection(address, options);
    this.now = now;
    setMaxListeners(0, this.#stop.signal);
  }

  get closed(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Is aborted when the client is closed. */
  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  credential(id: string): Credential {
    let found = this.#credentials.get(id);
    if (!found) {
      found = new Credential(this, id);
      this.#credentials.set(id, found);
    }
    return found;
  }

  /** Keeps the process alive until a promise is settled. The client's streams do not. */
  async hold<T>(promise: Promise<T>): Promise<T> {
    this.#waiting++;
    this.#keepAlive ??= setInterval(() => undefined, 2 ** 30);
    try {
      return await promise;
    } finally {
      if (--this.#waiting === 0) {
        clearInterval(this.#keepAlive);
        this.#keepAlive = undefined;
      }
    }
  }

  async close(): Promise<void> {
    if (this.closed) {
      return;
    }
    this.#stop.abort();
    for (const credential of this.#credentials.values()) {
      credential.forget();
    }
    await this.hold(this.usage.reportLast(AbortSignal.timeout(closeTimeout)));
    this.connection.close();
  }
}
