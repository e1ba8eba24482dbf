import { after, describe, test } from "node:test";
import assert from "node:assert/strict";

import { Runner, type MakeAdapter } from "./runner.js";
import { fetchWithRequest, fetchWithInit } from "./adapters.js";
import { World } from "./world.js";

const adapters: Record<string, MakeAdapter> = { fetch: fetchWithInit, "fetch with Request": fetchWithRequest };
const only = process.env["VECTORS"];

describe("vectors", { concurrency: 4 }, async () => {
  const world = await World.start();
  after(() => {
    world.stop();
  });
  const names = (await world.vectors()).filter((name) => !only || only.split(",").includes(name));
  for (const [adapter, make] of Object.entries(adapters)) {
    for (const name of names) {
      test(`${adapter}: ${name}`, { timeout: 90_000 }, async (t) => {
        const runner = new Runner(make);
        const end = await world.run(name, `typescript ${adapter}`, runner.perform);
        await runner.end();
        if (end.op === "done" && end.why) {
          t.skip(end.why);
        }
        assert.equal(end.op, "done", end.why);
      });
    }
  }
});
