import type { Duplex } from "node:stream";

import type { Dispatcher } from "undici";

import type { JsonCondition } from "./gen/authmaterial/v1/auth_decoration_pb.js";
import type { Prepared } from "./prepared.js";
import { isRedirect } from "./redirect.js";
import { matches, maxBody } from "./rejection.js";
import type { Exchange } from "./undici.js";

type Controller = Dispatcher.DispatchController;
type Headers = NodeJS.Dict<string | string[]>;

/** A response that is not used is read to its end, to keep the connection, if it has at most this size. */
const maxDrain = 4 << 10;
const maxHeld = 64 << 10;

/** A response that is held back. */
interface Held {
  pass: () => void;
  chunks: Buffer[];
  size: number;
}

/** A redirect that is held back until it is known whether redirects are followed. */
interface HeldRedirect extends Held {
  next: () => (() => void) | undefined;
}

/** A response that is held back until its body is known. */
interface Undecided extends Held {
  httpStatus: number;
  conditions: JsonCondition[];
}

/** One request to a provider. */
export class Attempt implements Dispatcher.DispatchHandler {
  readonly prepared: Prepared;
  readonly url: URL;
  readonly repeat: boolean;
  readonly #exchange: Exchange;
  /** Is called at the end of a response that the program does not get. */
  #next: (() => void) | undefined;
  #held: HeldRedirect | undefined;
  #undecided: Undecided | undefined;
  #ended = false;

  constructor(exchange: Exchange, prepared: Prepared, url: URL, repeat: boolean) {
    this.#exchange = exchange;
    this.prepared = prepared;
    this.url = url;
    this.repeat = repeat;
  }

  onRequestStart(controller: Controller, context: unknown): void {
    this.#exchange.controller.relayTo(controller);
    this.#exchange.start(context);
  }

  onRequestUpgrade(_: Controller, httpStatus: number, headers: Headers, socket: Duplex): void {
    this.#exchange.handler.onRequestUpgrade?.(this.#exchange.controller, httpStatus, headers, socket);
  }

  onResponseStart(controller: Controller, httpStatus: number, headers: Headers, message?: string): void {
    const { controller: relay, handler } = this.#exchange;
    const [location] = [headers["location"]].flat();
    const cleaned = location === undefined ? undefined : this.prepared.cleanLocation(location, this.url);
    if (cleaned !== location) {
      headers = { ...headers, location: cleaned };
      if (cleaned === undefined) {
        delete headers["location"];
      }
      relay.replaceLocation(cleaned);
    }
    const pass = () => {
      handler.onResponseStart?.(relay, httpStatus, headers, message);
    };
    const decision = this.repeat
      ? this.prepared.rejection.decide(httpStatus, (name) => [headers[name] ?? []].flat().join(", "))
      : [];
    if (decision === true) {
      controller.pause();
      this.#exchange
        .repeated(this, httpStatus)
        .then((next) => {
          if (!this.#ended) {
            this.#goOn(controller, headers, next, () => {
              relay.later(pass);
            });
          }
        })
        .catch((error: unknown) => {
          controller.abort(error as Error);
        });
    } else if (cleaned !== undefined && isRedirect(httpStatus)) {
      const next = () => this.#exchange.redirected(this, httpStatus, cleaned);
      if (this.#exchange.redirectLimit === undefined) {
        this.#held = { pass, next, chunks: [], size: 0 };
      } else {
        this.#goOn(controller, headers, next(), pass);
      }
    } else if (decision.length > 0) {
      this.#undecided = { pass, chunks: [], size: 0, httpStatus, conditions: decision };
    } else {
      pass();
    }
  }

  /** Passes the response on, or ends it before the next request. A short body is read, to keep the connection. */
  #goOn(controller: Controller, headers: Headers, next: (() => void) | undefined, pass: () => void): void {
    this.#next = next;
    if (!next) {
      pass();
    } else if (Number(headers["content-length"] ?? Infinity) <= maxDrain) {
      controller.resume();
    } else {
      controller.abort(new Error("the response is not used"));
    }
  }

  onResponseData(_: Controller, chunk: Buffer): void {
    if (this.#held) {
      this.#held.chunks.push(chunk);
      this.#held.size += chunk.length;
      if (this.#held.size > maxHeld) {
        this.#held.next();
        this.#release(this.#held);
      }
    } else if (this.#undecided) {
      this.#undecided.chunks.push(chunk);
      this.#undecided.size += chunk.length;
      if (this.#undecided.size > maxBody) {
        this.#release(this.#undecided);
      }
    } else if (!this.#next) {
      this.#exchange.handler.onResponseData?.(this.#exchange.controller, chunk);
    }
  }

  onResponseEnd(_: Controller, trailers: Headers): void {
    const { chain, controller, handler } = this.#exchange;
    this.#ended = true;
    const held = this.#held;
    const undecided = this.#undecided;
    if (undecided) {
      this.#exchange.wait(this.#decide(undecided), (next) => {
        if (next) {
          next();
        } else {
          this.#release(undecided);
          handler.onResponseEnd?.(controller, trailers);
        }
      });
    } else if (held) {
      // Only now can the probe use the connection.
      this.#exchange.wait(chain.probe(this.url.origin), () => {
        const next = held.next();
        if (next) {
          next();
        } else {
          this.#release(held);
          handler.onResponseEnd?.(controller, trailers);
        }
      });
    } else if (this.#next) {
      this.#next();
    } else {
      handler.onResponseEnd?.(controller, trailers);
    }
  }

  /** Returns what to do instead of passing the response on, if its body is a rejection. */
  async #decide({ chunks, conditions, httpStatus }: Undecided): Promise<(() => void) | undefined> {
    return matches(Buffer.concat(chunks), conditions) ? this.#exchange.repeated(this, httpStatus) : undefined;
  }

  #release({ pass, chunks }: Held): void {
    this.#held = this.#undecided = undefined;
    pass();
    for (const chunk of chunks) {
      this.#exchange.handler.onResponseData?.(this.#exchange.controller, chunk);
    }
  }

  onResponseError(_: Controller, error: Error): void {
    this.#ended = true;
    if (this.#next && !this.#exchange.controller.aborted) {
      this.#next();
    } else {
      if (this.#undecided && !this.#exchange.controller.aborted) {
        this.#release(this.#undecided);
      }
      this.#exchange.fail(error);
    }
  }
}
