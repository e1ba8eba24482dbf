import assert from "node:assert/strict";
import * as http from "node:http";
import { test } from "node:test";
import { inspect } from "node:util";
import type { Readable } from "node:stream";

import axios, { isAxiosError, isCancel, type AxiosInstance } from "axios";

import { redirecting, rejectedWhen, rejecting, secret, setUp } from "./setup.js";

test("baseURL, params, defaults and interceptors of the program work", async (t) => {
  const { client, provider } = await setUp(t);
  const instance: AxiosInstance = client.axios(
    "pendo",
    axios.create({ baseURL: provider.url, headers: { "X-Mine": "1" } }),
  );
  instance.interceptors.request.use((config) => {
    config.headers.set("x-api-key", "old");
    config.params = { ...(config.params as object), b: "2" };
    return config;
  });
  const { data, config } = await instance.post<string>(
    "/path?c=3",
    { hello: 1 },
    { params: { a: 1 }, auth: { username: "me", password: "pw" } },
  );
  assert.equal(data, "ok");
  const [got] = provider.received;
  assert.equal(got?.url, "/path?c=3&a=1&b=2&key=secret-query-1");
  assert.deepEqual([got.headers["x-api-key"], got.headers["x-mine"], got.body], [secret, "1", '{"hello":1}']);
  assert.match(got.headers.authorization ?? "", /^Basic /);
  assert.equal(config.headers["x-api-key"], "old");
});

test("an Authorization header of the material wins over auth and a user in the URL", async (t) => {
  const { broker, client, provider } = await setUp(t);
  broker.serve({ headers: [{ name: "Authorization", value: "Bearer secret-token" }] });
  const instance = client.axios("pendo", axios.create());
  await instance.get(provider.url.replace("//", "//user:password@"), { auth: { username: "me", password: "pw" } });
  assert.equal(provider.received[0]?.headers.authorization, "Bearer secret-token");
});

test("errors and responses refer to no material", async (t) => {
  const { client, provider } = await setUp(t, (_, response) => {
    response.writeHead(404).end("no");
  });
  const instance = client.axios("pendo", axios.create());
  for (const responseType of ["text", "stream", "arraybuffer"] as const) {
    const error: unknown = await instance
      .get(`${provider.url}/path`, { responseType })
      .catch((error: unknown) => error);
    assert.ok(isAxiosError(error));
    assert.equal(error.response?.status, 404);
    for (const object of [error, error.toJSON(), error.config, error.request, error.response, error.response.data]) {
      assert.doesNotMatch(inspect(object, { depth: 20, showHidden: true }), /secret-key|secret-query/);
    }
    assert.equal((error.request as { path: string }).path, "/path");
    (error.response.data as Partial<Readable>).destroy?.();
  }
  const failed: unknown = await instance
    .get(`${provider.url}/path`, { timeout: 1, lookup: () => undefined } as never)
    .catch((error: unknown) => error);
  assert.doesNotMatch(inspect(failed, { depth: 20, showHidden: true }), /secret-key|secret-query/);
});

test("too many redirects", async (t) => {
  const { client, provider } = await setUp(t, (_, response) => {
    response.writeHead(302, { location: "/" }).end();
  });
  const instance = client.axios("pendo", axios.create());
  const error: unknown = await instance.get(provider.url, { maxRedirects: 2 }).catch((error: unknown) => error);
  assert.ok(isAxiosError(error));
  assert.equal(error.code, "ERR_FR_TOO_MANY_REDIRECTS");
  assert.equal(provider.received.length, 3);
});

test("beforeRedirect sees no material, and can add headers", async (t) => {
  const { client, provider, other } = await setUp(t, redirecting("OTHER/next?key=secret-query-1"));
  const instance = client.axios("pendo", axios.create());
  const seen: unknown[] = [];
  await instance.get(`${provider.url}/redirect`, {
    headers: { Authorization: "mine" },
    beforeRedirect: (options, ...details) => {
      seen.push(inspect([options, details]));
      (options["headers"] as Record<string, string>)["x-added"] = "1";
    },
  });
  assert.doesNotMatch(seen.join(), /secret/);
  const [got] = other.received;
  assert.deepEqual([got?.url, got?.headers["x-added"], got?.headers.authorization], ["/next", "1", undefined]);
});

test("the adapter fetch follows no redirects by itself", async (t) => {
  const { client, provider, other } = await setUp(t, redirecting("OTHER/next"));
  const instance = client.axios("pendo", axios.create({ adapter: "fetch" }));
  const { data } = await instance.get<string>(`${provider.url}/redirect`);
  assert.equal(data, "ok");
  assert.equal(provider.received[0]?.headers["x-api-key"], secret);
  assert.equal(other.received[0]?.headers["x-api-key"], undefined);
});

test("form data is sent again after a rejection", async (t) => {
  const { broker, client, provider } = await setUp(t, rejecting);
  broker.replaceBy({ headers: [{ name: "x-api-key", value: "secret-key-2" }] });
  const form = new FormData();
  form.set("name", "hello");
  const { status } = await client.axios("pendo", axios.create()).post(provider.url, form);
  assert.equal(status, 200);
  assert.deepEqual(
    provider.received.map(({ body }) => body.includes("hello")),
    [true, true],
  );
});

test("a cancelled request does not wait for the broker", async (t) => {
  const { broker, client, provider } = await setUp(t);
  broker.wait = new Promise(() => undefined);
  const instance = client.axios("pendo", axios.create({ httpAgent: new http.Agent() }));
  const error: unknown = await instance
    .get(provider.url, { signal: AbortSignal.timeout(50) })
    .catch((error: unknown) => error);
  assert.ok(isCancel(error));
  assert.equal(provider.received.length, 0);
});

test("a stream of which the client has read a part is complete", async (t) => {
  const { client, provider, broker } = await setUp(t, ({ url }, response) => {
    response.write('{"ok": false}');
    response.end(url.startsWith("/large") ? " ".repeat(200_000) : "");
  });
  broker.serve({ rejectedWhen });
  const instance = client.axios("pendo", axios.create());
  for (const [path, size] of [
    ["/large", 200_013],
    ["/small", 13],
  ] as const) {
    const { data } = await instance.get<Readable>(provider.url + path, { responseType: "stream" });
    const chunks: Buffer[] = [];
    for await (const chunk of data) {
      chunks.push(chunk as Buffer);
    }
    assert.equal(Buffer.concat(chunks).toString(), '{"ok": false}'.padEnd(size));
    const { data: bytes } = await instance.get<Buffer>(provider.url + path, { responseType: "arraybuffer" });
    assert.equal(bytes.toString(), '{"ok": false}'.padEnd(size));
  }
  assert.equal(broker.calls, 2); // one for the material, one for the report, which is not repeated
});

test("the connection of a stream that is destroyed before it is read is closed", async (t) => {
  let close = (): void => undefined;
  const closed = new Promise<void>((resolve) => (close = resolve));
  const { client, provider, broker } = await setUp(t, (_, response) => {
    response.on("close", close);
    response.setHeader("x-unfinished", "1");
    response.write(" ".repeat(70_000));
  });
  broker.serve({ rejectedWhen });
  const instance = client.axios("pendo", axios.create());
  const { data } = await instance.get<Readable>(provider.url, { responseType: "stream" });
  data.destroy();
  await closed;
});
