import type { Core } from "./core.js";
import type { Credential } from "./credential.js";
import { sleep } from "./calls.js";

const maxId = 128;
const maxWatched = 100;
/** Several new credentials join one stream if they come within this time. */
const gather = 100;
/** A credential that no request has used for this time is not watched any more. */
const idle = 3_600_000;
const firstDelay = 200;
const maxDelay = 30_000;

/** The streams that watch the credentials of a client. */
export class Watches {
  readonly #core: Core;
  #unwatched: Credential[] = [];
  #streams: Stream[] = [];

  constructor(core: Core) {
    this.#core = core;
  }

  /** Makes a stream watch a credential soon, unless one does already. */
  add(credential: Credential): void {
    if (credential.watched || credential.id.length > maxId) {
      return;
    }
    credential.watched = true;
    credential.lastUse = this.#core.now();
    this.#unwatched.push(credential);
    if (this.#unwatched.length === 1) {
      setTimeout(() => {
        this.#open();
      }, gather).unref();
    }
  }

  /**
   * Opens streams for the new credentials. A stream that has room for more credentials is replaced
   * by one with its credentials and new ones.
   */
  #open(): void {
    while (this.#unwatched.length > 0 && !this.#core.closed) {
      const older = this.#streams.find((stream) => stream.credentials.length < maxWatched);
      const kept = older?.credentials ?? [];
      const opened = new Stream(this.#core, this, [...kept, ...this.#unwatched.splice(0, maxWatched - kept.length)]);
      this.#streams = this.#streams.filter((stream) => stream !== older).concat(opened);
      if (older) {
        opened.replace(older);
      }
      void opened.run();
    }
  }

  /**
   * Drops the idle credentials of a stream, and reports whether credentials are left. A stream that
   * was replaced keeps its credentials, because its successor watches them too.
   */
  dropIdle(stream: Stream): boolean {
    if (!this.#streams.includes(stream)) {
      return true;
    }
    const now = this.#core.now();
    stream.credentials = stream.credentials.filter((credential) => {
      credential.watched = now - credential.lastUse < idle;
      return credential.watched;
    });
    if (stream.credentials.length > 0) {
      return true;
    }
    this.#streams = this.#streams.filter((other) => other !== stream);
    return false;
  }
}

/** Watches some credentials by a stream that is opened again whenever it ends. */
class Stream {
  credentials: Credential[];
  readonly #core: Core;
  readonly #watches: Watches;
  readonly #stop = new AbortController();
  /** The stream works, and has delivered the state of each credential. */
  #complete = false;
  /** A stream that ends when this one is complete. */
  #replaces: Stream | undefined;

  constructor(core: Core, watches: Watches, credentials: Credential[]) {
    this.#core = core;
    this.#watches = watches;
    this.credentials = credentials;
  }

  /** Ends an older stream once this one is complete, or at once if it is not complete itself. */
  replace(older: Stream): void {
    if (older.#complete) {
      this.#replaces = older;
    } else {
      this.#replaces = older.#replaces;
      older.#replaces = undefined;
      older.#stop.abort();
    }
  }

  async run(): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, this.#core.stopped]);
    let delay = firstDelay;
    while (this.#watches.dropIdle(this)) {
      const delivered = await this.#receive(signal);
      if (delivered) {
        delay = firstDelay;
      }
      if (signal.aborted || !(await sleep(delay * (0.8 + 0.4 * Math.random()), signal))) {
        break;
      }
      if (!delivered) {
        delay = Math.min(2 * delay, maxDelay);
      }
    }
    this.#endReplaced();
  }

  #endReplaced(): void {
    if (this.#replaces) {
      this.#replaces.#stop.abort();
      this.#replaces = undefined;
    }
  }

  /** Processes the states of a stream until it ends, and reports whether there was any. */
  async #receive(signal: AbortSignal): Promise<boolean> {
    const waiting = new Map(this.credentials.map((credential) => [credential.id, credential]));
    const watched = new Map<string, Credential>();
    try {
      for await (const state of this.#core.connection.watch([...waiting.keys()], signal)) {
        const first = waiting.get(state.credentialId);
        if (first) {
          waiting.delete(first.id);
          watched.set(first.id, first);
          first.live++;
        }
        watched.get(state.credentialId)?.deliver(state);
        if (waiting.size === 0 && !this.#complete) {
          this.#complete = true;
          this.#endReplaced();
        }
      }
    } catch {
      // A stream that ended is opened again, whatever the reason.
    } finally {
      this.#complete = false;
      for (const credential of watched.values()) {
        credential.live--;
      }
    }
    return watched.size > 0;
  }
}
