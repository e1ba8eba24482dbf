import { stringify } from "node:querystring";
import type { Duplex } from "node:stream";

import type { Dispatcher } from "undici";

import type { Credential } from "./credential.js";
import type { Prepared } from "./prepared.js";
import { canRepeat, isRedirect, maxRedirects, redirect, type Redirect } from "./redirect.js";

type Dispatch = Dispatcher["dispatch"];
type Controller = Dispatcher.DispatchController;
type Handler = Dispatcher.DispatchHandler;
type Headers = NodeJS.Dict<string | string[]>;
type Options = Dispatcher.DispatchOptions & { maxRedirections?: number };

const maxDrain = 4 << 10;
const maxHeld = 64 << 10;
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
class Exchange {
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
    got.then(
      (prepared) => this.#send(prepared, true),
      (error: unknown) => {
        this.fail(error);
      },
    );
    return true;
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
      sent.headers = [...others, ...prepared.headers].flat();
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

/** A redirect that is held back until it is known whether redirects are followed. */
interface Held {
  pass: () => void;
  next: () => (() => void) | undefined;
  chunks: Buffer[];
  size: number;
}

/** One request to a provider. */
class Attempt implements Handler {
  readonly prepared: Prepared;
  readonly url: URL;
  readonly repeat: boolean;
  readonly #exchange: Exchange;
  /** Is called at the end of a response that the program does not get. */
  #next: (() => void) | undefined;
  #held: Held | undefined;
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
    if (this.repeat && this.prepared.rejectedBy(httpStatus)) {
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
    } else if (!this.#next) {
      this.#exchange.handler.onResponseData?.(this.#exchange.controller, chunk);
    }
  }

  onResponseEnd(_: Controller, trailers: Headers): void {
    const { chain, controller, handler } = this.#exchange;
    this.#ended = true;
    const held = this.#held;
    if (held) {
      // Only now can the probe use the connection.
      void chain.probe(this.url.origin).then(() => {
        const next = held.next();
        if (controller.aborted) {
          this.#exchange.fail(controller.reason);
        } else if (next) {
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

  #release({ pass, chunks }: Held): void {
    this.#held = undefined;
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
      this.#exchange.fail(error);
    }
  }
}

/** The controller that the program gets for all requests to providers. */
class Relay implements Controller {
  #target: Controller | undefined;
  #paused = false;
  #held = false;
  #reason: Error | null = null;
  #location: { value: string | undefined } | undefined;

  relayTo(target: Controller): void {
    this.#target = target;
    this.#location = undefined;
    if (this.#reason) {
      target.abort(this.#reason);
    } else if (this.#paused) {
      target.pause();
    }
  }

  /** Passes a response on that was paused. */
  later(pass: () => void): void {
    this.#held = true;
    pass();
    this.#held = false;
    if (!this.#paused) {
      this.#target?.resume();
    }
  }

  pause(): void {
    this.#paused = true;
    this.#target?.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#held) {
      this.#target?.resume();
    }
  }

  abort(reason: Error): void {
    this.#reason ??= reason;
    this.#target?.abort(reason);
  }

  get aborted(): boolean {
    return this.#reason !== null;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get reason(): Error | null {
    return this.#reason;
  }

  replaceLocation(value: string | undefined): void {
    this.#location = { value };
  }

  get rawHeaders() {
    const raw = this.#target?.rawHeaders ?? null;
    return this.#location && Array.isArray(raw) ? replaceLocation(raw, this.#location.value) : raw;
  }

  get rawTrailers() {
    return this.#target?.rawTrailers ?? null;
  }
}

/** Replaces the Location header in a list of names and values. */
function replaceLocation(raw: (Buffer | string)[], value: string | undefined): Buffer[] {
  const replaced: Buffer[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const isLocation = raw[i]?.toString().toLowerCase() === "location";
    if (!isLocation || value !== undefined) {
      replaced.push(Buffer.from(raw[i] ?? ""), Buffer.from(isLocation ? (value ?? "") : (raw[i + 1] ?? "")));
    }
  }
  return replaced;
}

/** Returns the URL of a request, or undefined if the interceptor cannot know it. */
function urlOf({ origin, path, query, method }: Options): URL | undefined {
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

function pairs(headers: Options["headers"]): [name: string, value: string][] {
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

function hostOf(headers: [name: string, value: string][]): string | undefined {
  return headers.find(([name]) => name.toLowerCase() === "host")?.[1];
}
