import { readFileSync } from "node:fs";
import { format, inspect } from "node:util";

import { fromJson } from "@bufbuild/protobuf";
import { Agent } from "undici";

import { AuthmaterialError, Client } from "../src/index.js";
import { AuthDecorationSchema } from "../src/gen/authmaterial/v1/auth_decoration_pb.js";
import { Prepared } from "../src/prepared.js";
import type { Operation } from "./world.js";

/** A result of a request, and the objects of the HTTP client, whose texts must not contain secrets. */
export interface Sent {
  status: number;
  headers: [string, string][];
  body: string;
  url?: string;
  objects: unknown[];
}

export interface After {
  url: string;
  headers: [string, string][];
}

/** Sends requests with an HTTP client. */
export interface Adapter {
  send(op: Operation, credential: string): Promise<Sent>;
  /** The program's request object after the last call. */
  after?: After;
}

export type MakeAdapter = (client: Client, agent: Agent, caFile: string | undefined) => Adapter;

/** Performs the operations of a vector. */
export class Runner {
  readonly #make: MakeAdapter;
  #now = 0;
  #client: Client | undefined;
  #agent: Agent | undefined;
  #adapter: Adapter | undefined;
  #objects: unknown[] = [];
  #error: unknown;

  constructor(make: MakeAdapter) {
    this.#make = make;
  }

  perform = async (op: Operation): Promise<object> => {
    switch (op.op) {
      case "new":
        await this.#client?.close();
        this.#open(op);
        return {};
      case "clock":
        this.#now = (op.now ?? 0) * 1000;
        return {};
      case "request":
        return this.#request(op);
      case "load":
        return this.#load(op);
      case "apply":
        return apply(op);
      case "texts":
        return { texts: [this.#client, this.#adapter, this.#error, ...this.#objects].flatMap(textsOf) };
      case "close":
        await this.close();
        return {};
      default:
        return { unsupported: true };
    }
  };

  async close(): Promise<void> {
    await this.#client?.close();
  }

  async end(): Promise<void> {
    await this.close();
    await this.#agent?.destroy();
  }

  #open({ broker, now, provider_ca_file }: Operation): void {
    this.#now = (now ?? 0) * 1000;
    this.#client = new Client(`${broker.plaintext ? "http" : "https"}://${broker.address}`, {
      caFile: broker.ca_file,
      certificateFile: broker.certificate_file,
      keyFile: broker.key_file,
      serverName: broker.server_name,
      tokenFile: broker.token_file,
      ...(now !== undefined && { clock: () => this.#now }),
    });
    void this.#agent?.destroy();
    this.#agent = new Agent(provider_ca_file ? { connect: { ca: readFileSync(provider_ca_file) } } : {});
    this.#adapter = this.#make(this.#client, this.#agent, provider_ca_file);
  }

  async #request(op: Operation): Promise<object> {
    const count = op.count ?? 1;
    const results: object[] = [];
    let started = 0;
    const work = async () => {
      for (let i = started++; i < count; i = started++) {
        results[i] = await this.#one(op, op.credentials?.[i % op.credentials.length] ?? op.credential);
      }
    };
    await Promise.all(Array.from({ length: op.concurrency ?? 1 }, work));
    return { results, request_after: this.#adapter?.after };
  }

  async #one(op: Operation, credential: string): Promise<object> {
    try {
      const { objects, ...result } = await this.#adapter!.send(op, credential);
      this.#objects = objects;
      return result;
    } catch (error) {
      this.#error = error;
      return { error: describe(error) };
    }
  }

  async #load(op: Operation): Promise<object> {
    const count = op.count ?? 1;
    const failures: string[] = [];
    const began = performance.now();
    const one = async (i: number) => {
      await new Promise((resolve) => setTimeout(resolve, began + (i * op.seconds * 1000) / count - performance.now()));
      try {
        const { status } = await this.#adapter!.send({ ...op, method: "GET", follow_redirects: true }, op.credential);
        if (status !== 200) {
          failures.push(`status ${status}`);
        }
      } catch (error) {
        failures.push(describe(error).message);
      }
    };
    await Promise.all(Array.from({ length: count }, (_, i) => one(i)));
    return { succeeded: count - failures.length, failures };
  }
}

function describe(error: unknown): { message: string } {
  const own = error instanceof AuthmaterialError ? error : (error as Error).cause;
  return {
    message: textsOf(error).join("\n"),
    ...(own instanceof AuthmaterialError && {
      reason: own.reason,
      credential_id: own.credentialId,
      ...(own.retryDelayMs !== undefined && { retry_seconds: own.retryDelayMs / 1000 }),
    }),
  };
}

/** Formats a value in each way that the language has. */
function textsOf(value: unknown): string[] {
  const all = { depth: 20, showHidden: true, getters: true, maxArrayLength: null, maxStringLength: null };
  const ways = [
    () => inspect(value, all),
    () => format("%s", value),
    () => format("%o %O", value, value),
    () => String(value),
    () => JSON.stringify(value),
    () => (value instanceof Error ? value.stack : undefined),
  ];
  return ways.flatMap((way) => {
    try {
      return way() ?? [];
    } catch {
      return []; // the value has no text of this kind
    }
  });
}

function apply(op: Operation): object {
  try {
    const prepared = new Prepared(fromJson(AuthDecorationSchema, op.decoration as never));
    const url = new URL(op.url);
    const headers = new Headers(op.headers);
    const refused = prepared.check(url, headers.get("host"));
    if (refused) {
      throw refused;
    }
    url.search = prepared.withParams(url.search);
    for (const [name, value] of prepared.headersFor((name) => headers.has(name))) {
      headers.set(name, value);
    }
    return { url: url.href, headers: [...headers] };
  } catch (error) {
    return { error: describe(error) };
  }
}

/** Returns a body that can be read only once. */
export function stream(text: string): ReadableStream<Uint8Array> {
  return new Blob([text]).stream() as ReadableStream<Uint8Array>;
}
