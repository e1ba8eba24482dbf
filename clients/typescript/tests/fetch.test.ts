import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { redirecting, rejectedWhen, rejecting, setUp } from "./setup.js";

test("the response has the program's URL, also in clones and after redirects", async (t) => {
  const { client, provider } = await setUp(t, redirecting("/next?a=1"));
  const fetch: typeof globalThis.fetch = client.fetch("pendo");
  const direct = await fetch(`${provider.url}/direct?b=2#part`);
  assert.equal(direct.url, `${provider.url}/direct?b=2`);
  assert.equal(direct.redirected, false);
  const redirected = await fetch(new URL(`${provider.url}/redirect#part`));
  const clone = redirected.clone();
  for (const response of [redirected, clone, clone.clone()]) {
    assert.equal(response.url, `${provider.url}/next?a=1`);
    assert.equal(response.redirected, true);
    assert.equal(await response.text(), "ok");
    assert.doesNotMatch(inspect(response), /secret/);
  }
});

test("redirect: error and manual", async (t) => {
  const { client, provider } = await setUp(t, redirecting("/next?key=secret-query-1&a=1"));
  const fetch = client.fetch("pendo");
  await assert.rejects(fetch(`${provider.url}/redirect`, { redirect: "error" }), (error: Error) => {
    assert.ok(error instanceof TypeError);
    assert.match(inspect(error), /unexpected redirect/);
    return true;
  });
  const response = await fetch(new Request(`${provider.url}/redirect`, { redirect: "manual" }));
  assert.equal(response.status, 302);
  assert.equal(response.headers.get("location"), "/next?a=1");
  assert.equal(response.clone().headers.get("location"), "/next?a=1");
  assert.equal(provider.received.length, 2);
});

test("20 redirects are followed, and no more", async (t) => {
  const { client, provider } = await setUp(t, (request, response) => {
    const count = Number(new URL(request.url, "http://x").searchParams.get("count"));
    if (count > 0) {
      response.writeHead(307, { location: `/?count=${count - 1}` }).end();
    }
  });
  const fetch = client.fetch("pendo");
  assert.equal((await fetch(`${provider.url}/?count=20`)).status, 200);
  await assert.rejects(fetch(`${provider.url}/?count=21`), TypeError);
});

test("method, body and headers change as the fetch standard says", async (t) => {
  for (const [status, method, expected, body] of [
    [301, "POST", "GET", ""],
    [302, "PUT", "PUT", "hello"],
    [303, "PUT", "GET", ""],
    [303, "HEAD", "HEAD", ""],
    [307, "POST", "POST", "hello"],
    [308, "DELETE", "DELETE", "hello"],
  ] as const) {
    const { client, provider, other } = await setUp(t, redirecting("OTHER/next", status));
    await client.fetch("pendo")(`${provider.url}/redirect`, {
      method,
      headers: { authorization: "mine", "x-other": "kept" },
      ...(method !== "HEAD" && { body: "hello" }),
    });
    const [got] = other.received;
    assert.deepEqual([got?.method, got?.body], [expected, body], `${status} ${method}`);
    assert.equal(got?.headers["content-type"], body ? "text/plain;charset=UTF-8" : undefined);
    assert.equal(got?.headers.authorization, undefined);
    assert.equal(got?.headers["x-other"], "kept");
  }
});

test("a redirect is not followed if its body cannot be sent again, or its URL is not http", async (t) => {
  const { client, provider } = await setUp(t, redirecting("/next", 307));
  const body = new Blob(["hello"]).stream();
  const init = { method: "POST", body, duplex: "half" } as RequestInit;
  await assert.rejects(client.fetch("pendo")(`${provider.url}/redirect`, init), TypeError);
  for (const location of ["ftp://127.0.0.1/", "http://user:password@127.0.0.1/"]) {
    const other = await setUp(t, redirecting(location));
    await assert.rejects(other.client.fetch("pendo")(`${other.provider.url}/redirect`), TypeError);
  }
});

test("a Location header with a secret in its path is removed", async (t) => {
  const { client, provider } = await setUp(t, redirecting("/next/secret%2Dkey-1"));
  const response = await client.fetch("pendo")(`${provider.url}/redirect`);
  assert.equal(response.status, 302);
  assert.equal(response.headers.get("location"), null);
});

test("bodies of all kinds are sent again after a rejection", async (t) => {
  const form = new FormData();
  form.set("name", "hello");
  const bodies = {
    text: "hello",
    bytes: new TextEncoder().encode("hello"),
    buffer: new TextEncoder().encode("hello").buffer,
    params: new URLSearchParams({ name: "hello" }),
    blob: new Blob(["hello"]),
    form,
  };
  for (const [kind, body] of Object.entries(bodies)) {
    for (const asRequest of [false, true]) {
      const { broker, client, provider } = await setUp(t, rejecting);
      broker.replaceBy({ headers: [{ name: "x-api-key", value: "secret-key-2" }] });
      const init = { method: "POST", body } as RequestInit;
      const fetch = client.fetch("pendo");
      const response = await (asRequest ? fetch(new Request(provider.url, init)) : fetch(provider.url, init));
      assert.equal(response.status, 200, kind);
      assert.deepEqual(
        provider.received.map((got) => got.body.includes("hello")),
        [true, true],
      );
    }
  }
});

test("an aborted request does not wait for the broker", async (t) => {
  const { broker, client, provider } = await setUp(t);
  let go = (): void => undefined;
  broker.wait = new Promise((resolve) => (go = resolve));
  const signal = AbortSignal.timeout(50);
  await assert.rejects(client.fetch("pendo")(provider.url, { signal }), { name: "TimeoutError" });
  await assert.rejects(client.fetch("pendo")(new Request(provider.url, { signal })), { name: "TimeoutError" });
  go();
  assert.equal((await client.fetch("pendo")(provider.url)).status, 200);
  assert.equal(broker.calls, 1);
});

test("an error that quotes the URL is not passed on", async (t) => {
  const { client, provider } = await setUp(t);
  const fetch = client.fetch("pendo", (input) => Promise.reject(new Error(`no answer from ${input as string}`)));
  await assert.rejects(fetch(provider.url), (error) => {
    assert.doesNotMatch(inspect(error), /secret-query/);
    return true;
  });
});

test("a body that is larger than those that are compared is passed on before it ends", async (t) => {
  const { broker, client, provider } = await setUp(t, (_, response) => {
    response.setHeader("x-unfinished", "1");
    response.write(" ".repeat(70_000));
  });
  broker.serve({ rejectedWhen });
  const response = await client.fetch("pendo")(provider.url, { signal: AbortSignal.timeout(10_000) });
  const first = await response.body?.getReader().read();
  assert.equal(first?.done, false);
});
