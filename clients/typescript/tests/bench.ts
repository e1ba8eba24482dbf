// Prints how many microseconds a request takes with and without the client.
import axios from "axios";
import { Agent, request } from "undici";
import { Worker } from "node:worker_threads";

import { Client } from "../src/index.js";
import { FakeBroker } from "./broker.js";

const count = 3_000;
const rounds = 5;

/** A provider in a thread of its own, so that its work is not measured. */
const code = `
  const server = require("node:http").createServer((_, response) => response.end("ok"));
  server.listen(0, "127.0.0.1", () => require("node:worker_threads").parentPort.postMessage(server.address().port));
`;
const worker = new Worker(code, { eval: true });
const port = await new Promise<number>((resolve) => worker.once("message", resolve));
const url = `http://127.0.0.1:${port}/v1/items?page=2`;
const broker = await FakeBroker.start({
  headers: [{ name: "Authorization", value: "Bearer secret" }],
  allowedHosts: [`127.0.0.1:${port}`],
  rejectedStatuses: [401],
});
const client = new Client(broker.address);
const agent = new Agent();
const composed = agent.compose(client.undici("pendo"));
const plain = axios.create();
const wrapped = client.axios("pendo", axios.create());
const pendo = client.fetch("pendo");
const headers = { authorization: "Bearer secret" };

const pairs: Record<string, [without: () => Promise<unknown>, with_: () => Promise<unknown>]> = {
  fetch: [async () => (await fetch(url, { headers })).text(), async () => (await pendo(url)).text()],
  undici: [
    async () => (await request(url, { dispatcher: agent, headers })).body.text(),
    async () => (await request(url, { dispatcher: composed })).body.text(),
  ],
  axios: [() => plain.get(url, { headers, maxRedirects: 0 }), () => wrapped.get(url)],
};

async function measure(send: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  for (let i = 0; i < count; i++) {
    await send();
  }
  return ((performance.now() - began) * 1000) / count;
}

for (const [name, [without, with_]] of Object.entries(pairs)) {
  const best = [Infinity, Infinity] as [number, number];
  for (let i = 0; i < rounds; i++) {
    best[0] = Math.min(best[0], await measure(without));
    best[1] = Math.min(best[1], await measure(with_));
  }
  console.log(`${name}: ${best[0].toFixed(0)} µs without the client, ${best[1].toFixed(0)} µs with it`);
}
await client.close();
await broker.stop();
await agent.close();
await worker.terminate();
