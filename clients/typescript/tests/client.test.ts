import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";

import { ConnectError } from "@connectrpc/connect";

import { Connection } from "../src/connection.js";
import { callError } from "../src/failures.js";
import { Client } from "../src/index.js";
import { FakeBroker } from "./broker.js";
import { Provider } from "./provider.js";
import { secret, setUp } from "./setup.js";

const index = new URL("../src/index.js", import.meta.url).href;

async function run(code: string): Promise<string> {
  return (await promisify(execFile)(process.execPath, ["--input-type=module", "-e", code], { timeout: 20_000 })).stdout;
}

test("a broker at a Unix socket, with a token", async (t) => {
  const folder = await mkdtemp(`${tmpdir()}/client-`);
  const provider = await Provider.start();
  const broker = await FakeBroker.start({ allowedHosts: [provider.host] }, `${folder}/broker.sock`);
  t.after(() => Promise.all([broker.stop(), provider.stop(), rm(folder, { recursive: true })]));
  await writeFile(`${folder}/token`, " token-1\n");
  const client = new Client(broker.address, { tokenFile: `${folder}/token` });
  assert.equal((await client.fetch("pendo")(provider.url)).status, 200);
  assert.equal(broker.authorization, "Bearer token-1");
  await writeFile(`${folder}/token`, "to ken\n");
  await assert.rejects(client.fetch("other")(provider.url), (error: Error) => {
    assert.match(error.message, /characters that are not allowed in a token/);
    assert.doesNotMatch(error.message, /to ken/);
    return true;
  });
  await client.close();
});

test("options that cannot work are refused", () => {
  assert.throws(() => new Client("broker:50051"), /must be https/);
  assert.throws(() => new Client("https://broker:50051/path"), /must be https/);
  assert.throws(() => new Client("http://broker:50051", { tokenFile: "token" }), /not sent over http/);
  assert.throws(() => new Client("http://broker:50051", { caFile: "ca.pem" }), /need an address with https/);
  assert.throws(() => new Client("https://broker:50051", { keyFile: "key.pem" }), /set both/);
  assert.throws(() => new Client("https://broker:50051", { caFile: "/nowhere/ca.pem" }), /ENOENT.*ca.pem/);
});

test("a client that is not closed does not keep the process alive, and one that waits does", async (t) => {
  const { broker, provider } = await setUp(t);
  broker.wait = new Promise((resolve) => setTimeout(resolve, 500));
  const output = await run(`
    import { Client } from ${JSON.stringify(index)};
    const client = new Client(${JSON.stringify(broker.address)});
    const response = await client.fetch("pendo")(${JSON.stringify(provider.url)});
    console.log(await response.text());
    await new Promise((resolve) => setTimeout(resolve, 300)); // the stream is open
  `);
  assert.equal(output, "ok\n");
});

test("a client in a worker thread", async (t) => {
  const { broker, provider } = await setUp(t);
  const code = `
    const { parentPort } = require("node:worker_threads");
    import(${JSON.stringify(index)}).then(async ({ Client }) => {
      const client = new Client(${JSON.stringify(broker.address)});
      const response = await client.fetch("pendo")(${JSON.stringify(provider.url)});
      parentPort.postMessage(response.status);
    });
  `;
  const worker = new Worker(code, { eval: true });
  const status = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  assert.equal(status, 200);
  await worker.terminate();
});

test("after close, requests fail, and close can be called again", async (t) => {
  const { client, provider } = await setUp(t);
  const fetch = client.fetch("pendo");
  await fetch(provider.url);
  await Promise.all([client.close(), client.close()]);
  await assert.rejects(fetch(provider.url), { name: "AuthmaterialError", reason: "BROKER_UNREACHABLE" });
});

test("a version that was rejected can become current again", async (t) => {
  let rejected = secret;
  const { broker, client, provider } = await setUp(t, (request, response) => {
    response.statusCode = request.headers["x-api-key"] === rejected ? 401 : 200;
  });
  const fetch = client.fetch("pendo");
  broker.replaceBy({ headers: [{ name: "X-Api-Key", value: "secret-key-2" }] });
  assert.equal((await fetch(provider.url)).status, 200);
  rejected = "secret-key-2";
  broker.replaceBy({ version: "v1" });
  assert.equal((await fetch(provider.url)).status, 200);
  assert.equal(provider.received.length, 4);
  assert.equal((await fetch(provider.url)).status, 200);
  assert.equal(provider.received.length, 5);
});

/** Starts a server that speaks neither TLS nor HTTP/2, and returns its port. */
async function startOtherServer(t: TestContext): Promise<number> {
  const server = createServer((socket) => {
    socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")).on("error", () => undefined);
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function call(connection: Connection): Promise<unknown> {
  const signal = new AbortController().signal;
  return connection.unary((broker, options) => broker.getAuthDecoration({}, options), 5_000, signal);
}

test("a connection that fails while it is closed or replaced does not end the process", async (t) => {
  const connection = new Connection(`http://127.0.0.1:${await startOtherServer(t)}`, {});
  await assert.rejects(call(connection));
  await assert.rejects(call(connection)); // the session has ended, and has not reported its error yet
  connection.close();
  await new Promise((resolve) => setTimeout(resolve, 100));
});

for (const [scheme, advice] of [
  ["https", /wrong version number: for a broker without TLS, use an address with http:/],
  ["http", /Protocol error: for a broker with TLS, use an address with https:/],
] as const) {
  test(`the error of an address that must not start with ${scheme}`, async (t) => {
    const connection = new Connection(`${scheme}://127.0.0.1:${await startOtherServer(t)}`, {});
    t.after(() => {
      connection.close();
    });
    const failed = await call(connection).catch((error: unknown) => ConnectError.from(error));
    const { message } = callError("pendo", failed as ConnectError, connection.address);
    assert.match(message, advice);
    assert.ok(message.includes(connection.address));
  });
}
