import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { adapters } from "./adapters.js";
import { Runner } from "./runner.js";
import { World } from "./world.js";

/** The long vectors run only on demand. */
const skip = !process.env["LOAD"] && "LOAD is not set";

describe("load", { skip }, async () => {
  const world = await World.start();
  after(() => {
    world.stop();
  });
  for (const name of skip ? [] : await world.vectors("load")) {
    for (const adapter of ["fetch", "undici", "axios"] as const) {
      test(`${adapter}: ${name}`, { timeout: 180_000 }, async (t) => {
        const runner = new Runner(adapters[adapter]);
        const end = await world.run(name, `typescript ${adapter}`, runner.perform);
        await runner.end();
        assert.equal(end.op, "done", end.why);
        t.diagnostic(JSON.stringify(end.figures));
      });
    }
  }
});
