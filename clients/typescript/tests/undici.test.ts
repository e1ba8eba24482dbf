import assert from "node:assert/strict";
import { test } from "node:test";

import { Agent, Client as Connection, fetch, interceptors, Pool, request, type Dispatcher } from "undici";

import { redirecting, rejectedWhen, rejecting, secret, setUp } from "./setup.js";

test("headers of all forms, and the option query", async (t) => {
  const { client, provider } = await setUp(t);
  const dispatcher: Dispatcher = new Agent().compose(client.undici("pendo"));
  const forms = [
    { "X-API-KEY": "old", "x-other": ["a", "b"] },
    ["X-API-KEY", "old", "x-other", "a", "x-other", "b"],
    new Map([
      ["X-API-KEY", "old"],
      ["x-other", "a, b"],
    ]),
    new Headers([
      ["x-api-key", "old"],
      ["x-other", "a, b"],
    ]),
  ];
  for (const headers of forms) {
    const { body } = await request(`${provider.url}/path`, {
      dispatcher,
      headers: headers as never,
      query: { a: "1 2", key: "old" },
    });
    await body.text();
    const got = provider.received.at(-1);
    assert.equal(got?.url, "/path?a=1%202&key=secret-query-1");
    assert.deepEqual([got.headers["x-api-key"], got.headers["x-other"]], [secret, "a, b"]);
  }
});

test("a dispatcher for one host needs an origin", async (t) => {
  const { client, provider } = await setUp(t);
  const pool = new Pool(provider.url);
  const dispatcher = pool.compose(client.undici("pendo"));
  await assert.rejects(dispatcher.request({ path: "/", method: "GET" }), { reason: "HOST_NOT_ALLOWED" });
  const { statusCode } = await dispatcher.request({ origin: provider.url, path: "/", method: "GET" });
  assert.equal(statusCode, 200);
  await pool.destroy();
});

for (const order of ["first", "last"] as const) {
  test(`redirect() is ${order}: redirects are followed, with retry(), on one connection`, async (t) => {
    const { client, provider, other } = await setUp(t, redirecting("OTHER/next?a=1&key=secret-query-1", 307));
    const own = client.undici("pendo");
    const redirect = interceptors.redirect({ maxRedirections: 3 });
    const dispatcher = new Agent({ connections: 1 }).compose(
      order === "first" ? [redirect, own] : [own, interceptors.retry(), redirect],
    );
    for (let i = 0; i < 3; i++) {
      const { statusCode } = await request(`${provider.url}/redirect`, { dispatcher, method: "POST", body: "hello" });
      assert.equal(statusCode, 200);
    }
    assert.equal(provider.received.length, 3);
    assert.deepEqual(
      other.received.map(({ method, url, body, headers }) => [method, url, body, headers["x-api-key"]]),
      Array(3).fill(["POST", "/next?a=1", "hello", undefined]),
    );
  });
}

test("without redirect(), and above its limit, redirects are passed on without material", async (t) => {
  const { client, provider, other } = await setUp(t, redirecting("OTHER/next?key=secret-query-1"));
  const agent = new Agent();
  for (const chain of [
    [client.undici("pendo")],
    [interceptors.redirect({ maxRedirections: 0 }), client.undici("pendo")],
    [interceptors.redirect(), client.undici("pendo")],
    [client.undici("pendo"), interceptors.redirect({ maxRedirections: 0 })],
  ] as Dispatcher.DispatcherComposeInterceptor[][]) {
    const { statusCode, headers } = await request(`${provider.url}/redirect`, { dispatcher: agent.compose(chain) });
    assert.deepEqual([statusCode, headers["location"]], [302, `${other.url}/next`]);
  }
  assert.equal(other.received.length, 0);
});

test("fetch of undici uses the interceptor for each redirect", async (t) => {
  const { client, provider, other } = await setUp(t, redirecting("OTHER/next?key=secret-query-1"));
  const dispatcher = new Agent().compose(client.undici("pendo"));
  const response = await fetch(`${provider.url}/redirect`, { dispatcher });
  assert.equal(response.url, `${other.url}/next`);
  assert.deepEqual(
    other.received.map(({ url, headers }) => [url, headers["x-api-key"]]),
    [["/next", undefined]],
  );
});

test("a long response to a rejected request does not delay the repeat", async (t) => {
  const { broker, client, provider } = await setUp(t, (request, response) => {
    rejecting(request, response);
    response.write("x".repeat(100_000));
    if (response.statusCode === 200) {
      response.end();
    } // the other response never ends
    Object.defineProperty(response, "writableEnded", { value: true });
  });
  broker.replaceBy({ headers: [{ name: "x-api-key", value: "secret-key-2" }] });
  const connection = new Connection(provider.url);
  const dispatcher = connection.compose(client.undici("pendo"));
  const { statusCode, body } = await dispatcher.request({
    origin: provider.url,
    path: "/",
    method: "POST",
    body: "hello",
  });
  assert.equal(statusCode, 200);
  assert.equal((await body.text()).length, 100_000);
  assert.deepEqual(
    provider.received.map(({ body }) => body),
    ["hello", "hello"],
  );
  await connection.destroy();
});

test("a response that is passed on after a report is complete", async (t) => {
  const { client, provider } = await setUp(t, (_, response) => {
    response.writeHead(401).end("x".repeat(1_000_000));
  });
  const dispatcher = new Agent().compose(client.undici("pendo"));
  const { statusCode, body } = await request(provider.url, { dispatcher });
  assert.equal(statusCode, 401);
  assert.equal((await body.text()).length, 1_000_000);
});

test("an aborted request does not wait for the broker", async (t) => {
  const { broker, client, provider } = await setUp(t);
  broker.wait = new Promise(() => undefined);
  const dispatcher = new Agent().compose(client.undici("pendo"));
  const signal = AbortSignal.timeout(50);
  const began = performance.now();
  await assert.rejects(request(provider.url, { dispatcher, signal }), { name: "TimeoutError" });
  assert.ok(performance.now() - began < 5_000);
  assert.equal(provider.received.length, 0);
});

test("an aborted request does not wait for the report of a rejection in the body", async (t) => {
  const { broker, client, provider } = await setUp(t, (_, response) => {
    broker.wait = new Promise(() => undefined);
    response.end('{"ok": false}');
  });
  broker.serve({ rejectedWhen });
  const dispatcher = new Agent().compose(client.undici("pendo"));
  const aborted = new AbortController();
  const answer = request(provider.url, { dispatcher, signal: aborted.signal });
  let began = Infinity;
  void broker.reported.then(() => {
    began = performance.now();
    aborted.abort();
  });
  await assert.rejects(answer, { name: "AbortError" });
  assert.ok(performance.now() - began < 5_000);
});

test("an error of the broker after an abort is handled", async (t) => {
  const { client, provider } = await setUp(t);
  const dispatcher = new Agent().compose(client.undici("pendo"));
  await client.close(); // so that it has no copy, and cannot get one
  await assert.rejects(request(provider.url, { dispatcher, signal: AbortSignal.abort() }), { name: "AbortError" });
  await new Promise(setImmediate); // an unhandled rejection would fail this test
  assert.equal(provider.received.length, 0);
});

test("a handler that aborts at the start without a reason gets an error", async (t) => {
  const { client, provider } = await setUp(t);
  const dispatcher = new Agent().compose(client.undici("pendo"));
  const error = await new Promise<Error>((resolve) => {
    dispatcher.dispatch(
      { origin: provider.url, path: "/", method: "GET" },
      {
        onRequestStart: (controller) => {
          controller.abort(undefined as never);
        },
        onResponseError: (_, error) => {
          resolve(error);
        },
      },
    );
  });
  assert.deepEqual([error.name, "code" in error && error.code], ["AbortError", "UND_ERR_ABORTED"]);
  assert.equal(provider.received.length, 0);
});
