import { Code, ConnectError } from "@connectrpc/connect";

import type { Core } from "./core.js";
import type { Prepared } from "./prepared.js";

const interval = 60_000;
const maxUses = 100;
const reportTimeout = 10_000;

interface Use {
  credentialId: string;
  version: string;
}

/** The versions whose uses will be reported. */
export class Usage {
  readonly #core: Core;
  #uses = new Map<string, Use>();
  #due = 0;
  #timer: NodeJS.Timeout | undefined;
  #unsupported = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Records a use. Returns the time from which on the next use must be recorded. */
  record({ credentialId, version }: Prepared, now: number): number {
    if (this.#core.closed || this.#unsupported) {
      return now + interval;
    }
    this.#reportIfDue(now);
    this.#add([{ credentialId, version }], now);
    return this.#due;
  }

  #add(uses: Use[], now: number): void {
    if (this.#uses.size === 0) {
      this.#due = now + interval;
      this.#timer = setTimeout(() => {
        this.#reportIfDue(this.#core.now());
      }, interval).unref();
    }
    for (const use of uses) {
      this.#uses.set(`${use.credentialId} ${use.version}`, use);
    }
  }

  #reportIfDue(now: number): void {
    if (!this.#core.closed && this.#uses.size > 0 && now >= this.#due) {
      void this.#report(this.#take());
    }
  }

  #take(): Use[] {
    clearTimeout(this.#timer);
    const uses = [...this.#uses.values()];
    this.#uses.clear();
    return uses;
  }

  async #report(uses: Use[]): Promise<void> {
    try {
      await this.#send(uses, this.#core.stopped);
    } catch (error) {
      if (ConnectError.from(error).code === Code.Unimplemented) {
        this.#unsupported = true;
      } else if (!this.#core.closed) {
        this.#add(uses, this.#core.now());
      }
    }
  }

  async #send(uses: Use[], signal: AbortSignal): Promise<void> {
    for (let i = 0; i < uses.length; i += maxUses) {
      await this.#core.connection.unary(
        (broker, options) => broker.reportUsage({ uses: uses.slice(i, i + maxUses) }, options),
        reportTimeout,
        signal,
      );
    }
  }

  /** Reports the uses that are not reported yet when the client is closed. */
  async reportLast(signal: AbortSignal): Promise<void> {
    const uses = this.#take();
    if (!this.#unsupported) {
      await this.#send(uses, signal).catch(() => undefined); // nobody can do anything about an error
    }
  }
}
