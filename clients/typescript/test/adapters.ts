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
  } as RequestInit;
}

async function result(response: Response, ...objects: unknown[]): Promise<Sent> {
  const copy = response.clone();
  const { status, url, headers } = response;
  const body = await response.text();
  return { status, url, headers: [...headers], body, objects: [response, copy, url, ...objects] };
}

export const fetchWithInit: MakeAdapter = (client, dispatcher) => ({
  async send(op, credential) {
    const fetch = client.fetch(credential);
    return result(await fetch(op.url, { ...initOf(op), dispatcher } as object), fetch);
  },
});

export const fetchWithRequest: MakeAdapter = (client, dispatcher) => {
  const adapter = {
    after: undefined as After | undefined,
    async send(op: Operation, credential: string) {
      const fetch = client.fetch(credential, (input, init) =>
        globalThis.fetch(input, { ...init, dispatcher } as object),
      );
      const request = new Request(op.url, initOf(op));
      try {
        return await result(await fetch(request), request, fetch);
      } finally {
        this.after = { url: request.url, headers: [...request.headers] };
      }
    },
  };
  return adapter as ReturnType<MakeAdapter>;
};
