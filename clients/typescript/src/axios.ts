import { PassThrough, pipeline, Readable } from "node:stream";

import type { AxiosError, AxiosInstance, AxiosResponse, InternalAxiosRequestConfig } from "axios";

import { abortable } from "./abort.js";
import type { Credential } from "./credential.js";
import type { Prepared } from "./prepared.js";
import { canRepeat, isRedirect, maxRedirects, redirect } from "./redirect.js";
import { matches, maxBody } from "./rejection.js";

type Config = InternalAxiosRequestConfig;
type Headers = Record<string, unknown>;

/** A request to one URL. A redirect leads to another hop. */
interface Hop {
  url: URL;
  method: string;
  headers: Headers;
  data: unknown;
  first: boolean;
  /** A redirect has led to another origin. */
  away: boolean;
}

/** A response, and the error with which axios reports it if its status is not valid. */
interface Answer {
  response: AxiosResponse;
  error?: AxiosError;
}

/** Makes an instance add the material of a credential to its requests, by an adapter. */
export function installAxios(credential: Credential, instance: AxiosInstance): void {
  const inner = instance.create();
  const { adapter } = instance.defaults;
  for (const key of Object.keys(inner.defaults)) {
    Reflect.deleteProperty(inner.defaults, key); // the adapter gets complete configurations
  }
  instance.defaults.adapter = (config) =>
    new Exchange(credential, inner, adapter ?? "http", config).run(instance.getUri(config));
}

class Exchange {
  readonly #credential: Credential;
  readonly #inner: AxiosInstance;
  readonly #adapter: NonNullable<Config["adapter"]>;
  readonly #config: Config;

  constructor(credential: Credential, inner: AxiosInstance, adapter: NonNullable<Config["adapter"]>, config: Config) {
    this.#credential = credential;
    this.#inner = inner;
    this.#adapter = adapter;
    this.#config = config;
  }

  async run(url: string): Promise<AxiosResponse> {
    const config = this.#config;
    let hop: Hop = {
      url: new URL(url),
      method: config.method ?? "get",
      headers: Object.fromEntries(Object.entries(config.headers)),
      data: config.data,
      first: true,
      away: false,
    };
    const limit = config.maxRedirects ?? maxRedirects;
    for (let redirects = 0; ; redirects++) {
      const { answer, location } = await this.#exchange(hop);
      if (location === undefined || !isRedirect(answer.response.status) || limit === 0) {
        return settle(answer);
      }
      (answer.response.data as Partial<Readable> | null)?.destroy?.();
      if (redirects >= limit) {
        throw failed("ERR_FR_TOO_MANY_REDIRECTS", "Maximum number of redirects exceeded", config);
      }
      hop = next(hop, answer.response, location, config);
    }
  }

  /** Sends one hop, and repeats it if the provider rejects the material and the broker has replaced it. */
  async #exchange(hop: Hop) {
    let prepared = await this.#wait(this.#credential.get());
    const refused = prepared.check(hop.url, hostOf(hop));
    if (refused && hop.first) {
      throw refused;
    }
    let answer = await this.#send(hop, prepared, !refused);
    if (!refused && (await isRejection(answer.response, prepared))) {
      const successor = await this.#wait(this.#credential.reject(prepared, answer.response.status));
      if (successor && canRepeat(hop.data) && !successor.check(hop.url, hostOf(hop))) {
        (answer.response.data as Partial<Readable> | null)?.destroy?.();
        prepared = successor;
        answer = await this.#send(hop, prepared, true);
      }
    }
    const { response } = answer;
    const location = response.headers["location"] as string | undefined;
    const cleaned = location === undefined ? undefined : prepared.cleanLocation(location, hop.url);
    if (cleaned === undefined) {
      delete response.headers["location"];
    } else {
      response.headers["location"] = cleaned;
    }
    return { answer, location: cleaned };
  }

  async #wait<T>(value: T | Promise<T>): Promise<T> {
    return abortable(value, this.#config.signal as AbortSignal | undefined);
  }

  async #send(hop: Hop, prepared: Prepared, decorated: boolean): Promise<Answer> {
    const config = this.#config;
    const url = new URL(hop.url);
    const headers = Object.fromEntries(Object.entries(hop.headers).filter(([name]) => !prepared.replaces(name)));
    if (decorated) {
      this.#credential.use(prepared);
      url.search = prepared.withParams(url.search);
      const present = new Set(
        Object.entries(headers).flatMap(([name, value]) =>
          value == null || value === false ? [] : name.toLowerCase(),
        ),
      );
      Object.assign(headers, Object.fromEntries(prepared.headersFor((name) => present.has(name))));
    }
    const withoutAuth = hop.away || prepared.replaces("authorization");
    if (withoutAuth) {
      url.username = url.password = "";
    }
    const sent = {
      ...config,
      adapter: this.#adapter,
      url: url.href,
      method: hop.method,
      headers,
      data: hop.data,
      auth: withoutAuth ? undefined : config.auth,
      baseURL: undefined,
      params: undefined,
      allowAbsoluteUrls: true,
      maxRedirects: 0,
      fetchOptions: { ...config.fetchOptions, redirect: "manual" },
      transformRequest: [],
      transformResponse: [],
    };
    try {
      return { response: present(await this.#inner.request(sent as object), hop, config) };
    } catch (caught) {
      const error = caught as AxiosError;
      error.config = config;
      if (error.request !== undefined) {
        error.request = requestOf(hop);
      }
      if (!error.response) {
        throw error;
      }
      error.response = present(error.response, hop, config);
      return { response: error.response, error };
    }
  }
}

/** Reports whether the provider rejects the material. The program can still read the whole body. */
async function isRejection(response: AxiosResponse, prepared: Prepared): Promise<boolean> {
  const headers = response.headers as Record<string, string | string[] | undefined>;
  const decision = prepared.rejection.decide(response.status, (name) => {
    const value = headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  });
  return decision === true || (decision.length > 0 && matches(await bodyOf(response), decision));
}

/** Returns a body of at most maxBody bytes. For others, the result matches no condition. */
async function bodyOf(response: AxiosResponse): Promise<Uint8Array> {
  const data: unknown = response.data;
  if (data instanceof Readable) {
    const peeked = new Peeked(data);
    response.data = Readable.from(peeked.all(), { objectMode: false }).once("close", () => data.destroy());
    return peeked.start();
  }
  if (data instanceof Blob) {
    return new Uint8Array(await data.slice(0, maxBody + 1).arrayBuffer());
  }
  return typeof data === "string" || data instanceof Uint8Array || data instanceof ArrayBuffer
    ? Buffer.from(data as string)
    : new Uint8Array();
}

/** A stream whose beginning is read before the program reads it. */
class Peeked {
  readonly #iterator: AsyncIterator<Buffer>;
  readonly #chunks: Buffer[] = [];
  #error: Error | undefined;

  constructor(stream: Readable) {
    this.#iterator = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** Returns a stream of at most maxBody bytes, or nothing. */
  async start(): Promise<Uint8Array> {
    let size = 0;
    try {
      for (let read = await this.#iterator.next(); !read.done; read = await this.#iterator.next()) {
        this.#chunks.push(read.value);
        size += read.value.length;
        if (size > maxBody) {
          return new Uint8Array();
        }
      }
    } catch (error) {
      this.#error = error as Error;
      return new Uint8Array();
    }
    return Buffer.concat(this.#chunks);
  }

  /** Returns the whole stream. It must not be read before `start` has ended. */
  async *all(): AsyncGenerator<Buffer> {
    try {
      yield* this.#chunks;
      if (this.#error) {
        throw this.#error;
      }
      for (let read = await this.#iterator.next(); !read.done; read = await this.#iterator.next()) {
        yield read.value;
      }
    } finally {
      await this.#iterator.return?.();
    }
  }
}

function settle({ response, error }: Answer): AxiosResponse {
  if (error) {
    throw error;
  }
  return response;
}

/** Removes everything from a response that refers to the request that was sent. */
function present(response: AxiosResponse, hop: Hop, config: Config): AxiosResponse {
  if (config.responseType === "stream") {
    const data = new PassThrough();
    pipeline(response.data as Readable, data, () => undefined); // an error ends both streams
    response.data = data;
  }
  response.config = config;
  response.request = requestOf(hop);
  return response;
}

/** Returns what a program may want to know about the request, without the material. */
function requestOf({ url, method }: Hop) {
  const responseUrl = url.href.slice(0, url.href.length - url.hash.length);
  const { protocol, host, pathname, search } = url;
  return { method: method.toUpperCase(), protocol, host, path: pathname + search, res: { responseUrl } };
}

function hostOf(hop: Hop): string | undefined {
  const [, host] = Object.entries(hop.headers).find(([name]) => name.toLowerCase() === "host") ?? [];
  return typeof host === "string" ? host : undefined;
}

function next(hop: Hop, response: AxiosResponse, location: string, config: Config): Hop {
  let target;
  try {
    target = redirect(hop.url, hop.method, response.status, location);
  } catch (error) {
    throw failed("ERR_FR_REDIRECTION_FAILURE", (error as Error).message, config);
  }
  const { url, method, dropsBody } = target;
  if (!dropsBody && !canRepeat(hop.data)) {
    throw failed("ERR_FR_REDIRECTION_FAILURE", "the body cannot be sent again", config);
  }
  const headers = Object.fromEntries(Object.entries(hop.headers).filter(([name]) => !target.dropsHeader(name)));
  const { href, protocol, hostname, port } = url;
  const details = { headers: response.headers as Record<string, string>, statusCode: response.status as never };
  config.beforeRedirect?.(
    { href, protocol, hostname, port, path: url.pathname + url.search, method: method.toUpperCase(), headers },
    details,
    { url: hop.url.href, method: hop.method.toUpperCase(), headers: hop.headers as Record<string, string> },
  );
  const away = hop.away || url.origin !== hop.url.origin;
  return { url, method, headers, data: dropsBody ? undefined : hop.data, first: false, away };
}

/** Returns an error for which `axios.isAxiosError` is true. */
function failed(code: string, message: string, config: Config): Error {
  return Object.assign(new Error(message), { code, config, isAxiosError: true });
}
