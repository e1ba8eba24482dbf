import { after, describe, test } from "node:test";
import assert from "node:assert/strict";

import { Runner } from "./runner.js";
import { adapters } from "./adapters.js";
import { World } from "./world.js";

/** The names of the only adapters and vectors to run, separated by commas. */
const only = (name: string, set: string | undefined) => !set || set.split(",").includes(name);

// Most of their time, vectors wait.
describe("vectors", { concurrency: 20 }, async () => {
  const world = await World.start();
  after(() => {
    world.stop();
  });
  const names = (await world.vectors()).filter((name) => only(name, process.env["VECTORS"]));
  for (const [adapter, make] of Object.entries(adapters).filter(([name]) => only(name, process.env["ADAPTERS"]))) {
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
