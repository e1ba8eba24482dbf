import { readFileSync } from "node:fs";
import * as https from "node:https";
import { Readable } from "node:stream";

import axios, { AxiosError, type AxiosInstance } from "axios";
import { interceptors, request, type Dispatcher } from "undici";

import type { After, MakeAdapter, Sent } from "./runner.js";
import { stream } from "./runner.js";
import type { Operation } from "./world.js";

function initOf(op: Operation): RequestInit {
  const body = op.body === undefined ? undefined : op.body_repeatable ? op.body : stream(op.body);
  return {
    method: op.method,
    headers: op.headers ?? [],
    redirect: op.follow_redirects ? "follow" : "manual",
    ...(body !== undefined && { body, duplex: "half" }),
  };
}

async function result(response: Response, ...objects: unknown[]): Promise<Sent> {
  const copy = response.clone();
  const { status, url, headers } = response;
  const body = await response.text();
  return { status, url, headers: [...headers], body, objects: [response, copy, url, ...objects] };
}

const fetchWithInit: MakeAdapter = (client, dispatcher) => ({
  async send(op, credential) {
    const fetch = client.fetch(credential);
    return result(await fetch(op.url, { ...initOf(op), dispatcher } as object), fetch);
  },
});

const fetchWithRequest: MakeAdapter = (client, dispatcher) => {
  const adapter = {
    after: undefined as After | undefined,
    async send(op: Operation, credential: string) {
      const fetch = client.fetch(credential, (input, init) =>
        globalThis.fetch(input, { ...init, dispatcher } as object),
      );
      const { body, ...init } = initOf(op);
      const request = new Request(op.url, op.body_repeatable ? initOf(op) : init);
      try {
        const response = await fetch(request, op.body_repeatable || !body ? {} : ({ body, duplex: "half" } as object));
        return await result(response, request, fetch);
      } finally {
        this.after = { url: request.url, headers: [...request.headers] };
      }
    },
  };
  return adapter as ReturnType<MakeAdapter>;
};

/** Adapters for undici, with the interceptor for redirects before or after the client's. */
function undici(redirectFirst: boolean): MakeAdapter {
  return (client, agent) => {
    const dispatchers = new Map<string, Dispatcher>();
    return {
      async send(op, credential) {
        const key = `${credential} ${op.follow_redirects}`;
        const chain: Dispatcher.DispatcherComposeInterceptor[] = [client.undici(credential)];
        if (op.follow_redirects) {
          chain.splice(redirectFirst ? 0 : 1, 0, interceptors.redirect({ maxRedirections: 5 }));
        }
        const dispatcher = dispatchers.get(key) ?? agent.compose(chain);
        dispatchers.set(key, dispatcher);
        const { method, body } = initOf(op);
        const options = {
          dispatcher,
          method: method as Dispatcher.HttpMethod,
          headers: (op.headers ?? []).flat(),
          body: body instanceof ReadableStream ? Readable.fromWeb(body as never) : (body as string | undefined),
        };
        const response = await request(op.url, options as Parameters<typeof request>[1]);
        const headers = Object.entries(response.headers).flatMap(([name, value]) =>
          [value].flat().map((one): [string, string] => [name, one ?? ""]),
        );
        const text = await response.body.text();
        const { context, opaque, trailers } = response;
        return { status: response.statusCode, headers, body: text, objects: [headers, context, opaque, trailers] };
      },
    };
  };
}

const axiosHttp: MakeAdapter = (client, _, caFile) => {
  const httpsAgent = new https.Agent(caFile ? { ca: readFileSync(caFile) } : {});
  const instances = new Map<string, AxiosInstance>();
  const adapter = {
    after: undefined as After | undefined,
    async send(op: Operation, credential: string): Promise<Sent> {
      const instance = instances.get(credential) ?? client.axios(credential, axios.create({ httpsAgent }));
      instances.set(credential, instance);
      const headers: Record<string, string[]> = {};
      for (const [name, value] of op.headers ?? []) {
        (headers[name] ??= []).push(value);
      }
      const config = {
        method: op.method,
        url: op.url,
        headers,
        data: op.body === undefined || op.body_repeatable ? op.body : Readable.from([op.body]),
        responseType: "text" as const,
        ...(!op.follow_redirects && { maxRedirects: 0 }),
      };
      const objects: unknown[] = [instance, config];
      try {
        const response = await instance.request<string>(config).catch((error: unknown) => {
          // An error with another status is about the body.
          if (error instanceof AxiosError && error.response && error.response.status >= 300) {
            objects.push(error, error.toJSON());
            return error.response;
          }
          throw error;
        });
        objects.push(response, response.request, response.config);
        const received = Object.entries(response.headers).map(([name, value]): [string, string] => [
          name,
          String(value),
        ]);
        const { res } = response.request as { res: { responseUrl: string } };
        return {
          status: response.status,
          url: res.responseUrl,
          headers: received,
          body: response.data as string,
          objects,
        };
      } finally {
        this.after = {
          url: config.url,
          headers: Object.entries(headers).flatMap(([name, values]) =>
            values.map((value): [string, string] => [name, value]),
          ),
        };
      }
    },
  };
  return adapter as ReturnType<MakeAdapter>;
};

export const adapters = {
  fetch: fetchWithInit,
  "fetch with Request": fetchWithRequest,
  undici: undici(false),
  "undici redirect first": undici(true),
  axios: axiosHttp,
} satisfies Record<string, MakeAdapter>;
