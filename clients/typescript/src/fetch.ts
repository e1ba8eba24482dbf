import { abortable } from "./abort.js";
import type { Credential } from "./credential.js";
import type { Fetch } from "./options.js";
import type { Prepared } from "./prepared.js";
import { canRepeat, isRedirect, maxRedirects, redirect } from "./redirect.js";
import { matches, maxBody } from "./rejection.js";

type BodyInit = NonNullable<RequestInit["body"]>;
type Options = RequestInit & { redirect: Request["redirect"] };

/** The body of a response that is not used is read to its end, to keep the connection, if it has at most this size. */
const maxDrain = 4 << 10;

/** A request to one URL. A redirect leads to another hop. */
interface Hop {
  url: URL;
  method: string;
  headers: Headers;
  body: Body;
  first: boolean;
}

/** Makes the body for each time that it is sent. */
interface Body {
  next: () => BodyInit | null;
  repeatable: boolean;
}

const noBody: Body = { next: () => null, repeatable: true };

/** Returns a fetch function that adds the material of a credential to its requests. */
export function wrapFetch(credential: Credential, base: Fetch): Fetch {
  return async (input, init) => {
    const { hop, options, done } = read(input, init);
    try {
      return await follow(credential, base, hop, options);
    } finally {
      done();
    }
  };
}

/** Splits the arguments of a fetch function into the first hop and the options of all hops. */
function read(input: string | URL | Request, init: RequestInit = {}) {
  const request = typeof input === "object" && "headers" in input ? input : undefined;
  const url = new URL(request ? request.url : input);
  const options: Options = {
    ...(request && { integrity: request.integrity, keepalive: request.keepalive, signal: request.signal }),
    ...init,
    redirect: init.redirect ?? request?.redirect ?? "follow",
  };
  const source = init.body === undefined && request?.body ? request.clone() : undefined;
  const hop: Hop = {
    url,
    method: init.method ?? request?.method ?? "GET",
    headers: new Headers(init.headers ?? request?.headers),
    body: source
      ? bodyOf(source)
      : init.body == null
        ? noBody
        : { next: () => init.body ?? null, repeatable: canRepeat(init.body) },
    first: true,
  };
  const done = () => {
    void source?.body?.cancel().catch(() => undefined);
  };
  return { hop, options, done };
}

/** The body of a Request object is kept in memory until the answer, to be sent again. */
function bodyOf(source: Request): Body {
  return { next: () => source.clone().body, repeatable: true };
}

async function follow(credential: Credential, base: Fetch, hop: Hop, options: Options): Promise<Response> {
  for (let hops = 0; ; hops++) {
    const { response, prepared } = await exchange(credential, base, hop, options);
    const location = response.headers.get("location");
    const cleaned = location === null ? undefined : prepared.cleanLocation(location, hop.url);
    if (!isRedirect(response.status) || cleaned === undefined || options.redirect === "manual") {
      return present(response, prepared, hop, location === cleaned ? undefined : (cleaned ?? null));
    }
    void drain(response);
    if (options.redirect === "error") {
      throw failed("unexpected redirect");
    }
    if (hops === maxRedirects) {
      throw failed("redirect count exceeded");
    }
    hop = next(hop, response.status, cleaned);
  }
}

/** Sends one hop, and repeats it if the provider rejects the material and the broker has replaced it. */
async function exchange(credential: Credential, base: Fetch, hop: Hop, options: RequestInit) {
  const prepared = await abortable(credential.get(), options.signal);
  const refused = prepared.check(hop.url, hop.headers.get("host"));
  if (refused && hop.first) {
    throw refused;
  }
  const response = await send(credential, base, hop, options, prepared, !refused);
  if (refused || !(await isRejection(response, prepared))) {
    return { response, prepared };
  }
  const successor = await abortable(credential.reject(prepared, response.status), options.signal);
  if (!successor || !hop.body.repeatable || successor.check(hop.url, hop.headers.get("host"))) {
    return { response, prepared };
  }
  await drain(response);
  return { response: await send(credential, base, hop, options, successor, true), prepared: successor };
}

/** Reports whether the provider rejects the material. The program can still read the whole body. */
async function isRejection(response: Response, prepared: Prepared): Promise<boolean> {
  const decision = prepared.rejection.decide(response.status, (name) => response.headers.get(name));
  if (decision === true || decision.length === 0 || !response.body) {
    return decision === true;
  }
  const body = response.clone().body as ReadableStream<Uint8Array> | null;
  const reader = body?.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    while (size <= maxBody) {
      const value = (await reader?.read())?.value;
      if (!value) {
        break;
      }
      chunks.push(value);
      size += value.length;
    }
  } catch {
    return false; // the program gets the error when it reads the body
  }
  void reader?.cancel().catch(() => undefined);
  return size <= maxBody && matches(Buffer.concat(chunks), decision);
}

async function send(
  credential: Credential,
  base: Fetch,
  hop: Hop,
  options: RequestInit,
  prepared: Prepared,
  decorated: boolean,
): Promise<Response> {
  let { href } = hop.url;
  const headers = new Headers([...hop.headers].filter(([name]) => !prepared.replaces(name)));
  if (decorated) {
    credential.use(prepared);
    if (prepared.hasParams) {
      const url = new URL(href);
      url.search = prepared.withParams(url.search);
      href = url.href;
    }
    for (const [name, value] of prepared.headersFor((name) => headers.has(name))) {
      headers.set(name, value);
    }
  }
  const body = hop.body.next();
  const sent = {
    ...options,
    method: hop.method,
    headers,
    body,
    redirect: "manual",
    ...(body !== null && { duplex: "half" }),
  };
  try {
    return await base(href, sent as RequestInit);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof Error && prepared.isIn(texts(error), hop.url.href)) {
      throw failed("the error is not shown, because its text contains a secret");
    }
    throw error;
  }
}

function texts(error: unknown): string {
  return error instanceof Error ? `${error.message}\n${error.stack ?? ""}\n${texts(error.cause)}` : String(error);
}

/** Reads a short body to its end, so that the connection can be used again. */
async function drain(response: Response): Promise<void> {
  const length = Number(response.headers.get("content-length") ?? Infinity);
  await (length <= maxDrain ? response.arrayBuffer() : response.body?.cancel())?.catch(() => undefined);
}

function failed(why: string): TypeError {
  return new TypeError("fetch failed", { cause: new Error(why) });
}

function next(hop: Hop, httpStatus: number, location: string): Hop {
  let target;
  try {
    target = redirect(hop.url, hop.method, httpStatus, location);
  } catch (error) {
    throw failed((error as Error).message);
  }
  if (!target.dropsBody && !hop.body.repeatable) {
    throw failed("the body cannot be sent again");
  }
  const headers = new Headers([...hop.headers].filter(([name]) => !target.dropsHeader(name)));
  const { url, method, dropsBody } = target;
  return { url, method, headers, body: dropsBody ? noBody : hop.body, first: false };
}

/**
 * Returns the response to the program, without the material in its URL and its Location header.
 * `location` replaces the header, or removes it if it is null.
 */
function present(response: Response, prepared: Prepared, hop: Hop, location: string | null | undefined): Response {
  if (hop.first && !prepared.hasParams && location === undefined) {
    return response;
  }
  const url = new URL(hop.url);
  url.hash = "";
  const headers = new Headers(response.headers);
  if (location === null) {
    headers.delete("location");
  } else if (location !== undefined) {
    headers.set("location", location);
  }
  return define(response, { url: url.href, redirected: !hop.first, headers });
}

/** Sets properties of a response and its clones. A new Response would have no URL. */
function define(response: Response, properties: { url: string; redirected: boolean; headers: Headers }): Response {
  const original = response.clone.bind(response);
  const clone = () => define(original(), { ...properties, headers: new Headers(properties.headers) });
  for (const [name, value] of Object.entries({ ...properties, clone })) {
    Object.defineProperty(response, name, { value, configurable: true });
  }
  return response;
}
