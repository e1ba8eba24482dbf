import type { Dispatcher } from "undici";

import type { Credential } from "./credential.js";
import { Attempt } from "./attempt.js";
import { hostOf, pairs, urlOf, type Options } from "./dispatch.js";
import type { Prepared } from "./prepared.js";
import { canRepeat, maxRedirects, redirect, type Redirect } from "./redirect.js";
import { Relay } from "./relay.js";

type Dispatch = Dispatcher["dispatch"];
type Handler = Dispatcher.DispatchHandler;

/** How many redirects that were passed on are remembered. */
const maxPassed = 1_000;

/** Returns an interceptor that adds the material of a credential to requests. */
export function interceptor(credential: Credential): (dispatch: Dispatch) => Dispatch {
  return (dispatch) => {
    const chain = new Chain(credential, dispatch);
    return (options, handler) => new Exchange(chain, options, handler).begin();
  };
}

/** What the requests of a composed dispatcher share. */
class Chain {
  readonly credential: Credential;
  readonly dispatch: Dispatch;
  /** The URLs of redirects that were passed on, and that an outer interceptor may follow. */
  readonly #passed = new Set<string>();
  /** An inner interceptor follows redirects by default; undefined if this is not known yet. */
  followsInside: boolean | undefined;

  constructor(credential: Credential, dispatch: Dispatch) {
    this.credential = credential;
    this.dispatch = dispatch;
  }

  pass(url: URL): void {
    const [oldest] = this.#passed.size < maxPassed ? [] : this.#passed;
    this.#passed.delete(oldest ?? "");
    this.#passed.add(withoutHash(url));
  }

  wasPassed(url: URL): boolean {
    return this.#passed.has(withoutHash(url));
  }

  /**
   * Finds out whether an inner interceptor follows redirects, by a request that is aborted before it
   * is sent: the interceptor gives it a history of redirects.
   */
  async probe(origin: string): Promise<void> {
    this.followsInside ??= await new Promise((resolve) => {
      const handler: Handler = {
        onRequestStart: (controller, context: { history?: unknown } | null | undefined) => {
          resolve(context?.history !== undefined);
          controller.abort(new Error("this request only finds out whether redirects are followed"));
        },
        onResponseError: () => {
          resolve(false);
        },
      };
      this.dispatch({ origin, path: "/", method: "GET" }, handler);
    });
  }
}

function withoutHash(url: URL): string {
  return url.href.slice(0, url.href.length - url.hash.length);
}

/** One request of the program. It may need several requests to providers, one after the other. */
export class Exchange {
  readonly chain: Chain;
  readonly handler: Handler;
  readonly controller = new Relay();
  #options: Options;
  #started = false;
  #redirects = 0;

  constructor(chain: Chain, options: Options, handler: Handler) {
    this.chain = chain;
    this.handler = handler;
    this.#options = options;
  }

  begin(): boolean {
    const got = this.chain.credential.get();
    if (!(got instanceof Promise)) {
      return this.#send(got, true);
    }
    this.start(undefined); // so that the program can abort the request while it waits
    this.wait(got, (prepared) => {
      this.#send(prepared, true);
    });
    return true;
  }

  /** Waits while no request is open. If the program aborts, the exchange fails at once. */
  wait<T>(promise: Promise<T>, next: (value: T) => void): void {
    const { controller } = this;
    if (controller.aborted) {
      promise.catch(() => undefined); // otherwise an error of the promise would end the process
      this.fail(controller.reason);
      return;
    }
    controller.onAbort = (reason) => this.fail(reason);
    promise
      .then((value) => {
        if (!controller.aborted) {
          controller.onAbort = undefined;
          next(value);
        }
      })
      .catch((error: unknown) => {
        if (!controller.aborted) {
          controller.onAbort = undefined;
          this.fail(error);
        }
      });
  }

  /** Sends the current request. A provider's rejection leads to one repeat if `repeat` is true. */
  #send(prepared: Prepared, repeat: boolean): boolean {
    if (this.controller.aborted) {
      return this.fail(this.controller.reason);
    }
    const options = this.#options;
    const url = urlOf(options);
    if (!url) {
      return this.fail(prepared.refuse("the request has no origin, or its path does not start with a slash"));
    }
    const headers = pairs(options.headers);
    const refused = prepared.check(url, hostOf(headers));
    if (refused && this.#redirects === 0 && !this.chain.wasPassed(url)) {
      return this.fail(refused);
    }
    const others = headers.filter(([name]) => !prepared.replaces(name));
    const sent: Options = { ...options, maxRedirections: 0, headers: others.flat() };
    if (!refused) {
      this.chain.credential.use(prepared);
      const isPresent = (name: string) => others.some(([other]) => other.toLowerCase() === name);
      sent.headers = [...others, ...prepared.headersFor(isPresent)].flat();
      if (prepared.hasParams) {
        sent.path = options.path.replace(/[?#].*$/s, "") + prepared.withParams(url.search);
        delete sent.query;
      }
    }
    return this.chain.dispatch(sent, new Attempt(this, prepared, url, !refused && repeat));
  }

  start(context: unknown): void {
    if (!this.#started) {
      this.#started = true;
      this.handler.onRequestStart?.(this.controller, context);
    }
  }

  fail(error: unknown): true {
    this.handler.onResponseError?.(this.controller, error as Error);
    return true;
  }

  /** Returns a function that repeats the request after a rejection, or undefined if that is not possible. */
  async repeated({ prepared, url }: Attempt, httpStatus: number): Promise<(() => void) | undefined> {
    const successor = await this.chain.credential.reject(prepared, httpStatus);
    if (!successor || !canRepeat(this.#options.body) || successor.check(url, hostOf(pairs(this.#options.headers)))) {
      return undefined;
    }
    return () => this.#send(successor, false);
  }

  /** How many redirects are followed, or undefined if this is not known yet. */
  get redirectLimit(): number | undefined {
    const inside = this.chain.followsInside;
    return this.#options.maxRedirections ?? (inside === undefined ? undefined : inside ? maxRedirects : 0);
  }

  /** Returns a function that follows a redirect, or undefined if the program gets the response. */
  redirected({ url }: Attempt, httpStatus: number, location: string): (() => void) | undefined {
    let target: Redirect;
    try {
      target = redirect(url, this.#options.method, httpStatus, location);
    } catch {
      return undefined;
    }
    if (this.#redirects >= (this.redirectLimit ?? 0) || !(target.dropsBody || canRepeat(this.#options.body))) {
      this.chain.pass(target.url);
      return undefined;
    }
    return () => {
      this.#redirects++;
      const { query: _, ...options } = this.#options;
      this.#options = {
        ...options,
        origin: target.url.origin,
        path: target.url.pathname + target.url.search,
        method: target.method,
        headers: pairs(options.headers)
          .filter(([name]) => !target.dropsHeader(name))
          .flat(),
        ...(target.dropsBody && { body: null }),
      };
      this.begin();
    };
  }
}
