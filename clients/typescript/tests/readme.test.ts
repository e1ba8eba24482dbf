import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";

import ts from "typescript";

import { FakeBroker } from "./broker.js";
import { Provider } from "./provider.js";

const folder = new URL("../../", import.meta.url);
const readme = await readFile(new URL("README.md", folder), "utf8");
const examples = [...readme.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code = ""]) => code);
const [fetchExample = "", undiciExample = "", axiosExample = "", errorExample = ""] = examples;

/** Runs code of the README in a process of its own, with other addresses. */
async function run(code: string, broker: FakeBroker, provider: Provider): Promise<string> {
  const typescript = code
    .replaceAll("https://broker:50051", broker.address)
    .replaceAll(/caFile: ".*?", tokenFile: ".*?"/g, "")
    .replaceAll("https://app.pendo.io", provider.url);
  const { outputText } = ts.transpileModule(typescript, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  const temporary = await mkdtemp(new URL("build/readme-", folder).pathname);
  try {
    await writeFile(`${temporary}/example.mjs`, outputText);
    return (await promisify(execFile)(process.execPath, [`${temporary}/example.mjs`], { timeout: 20_000 })).stdout;
  } finally {
    await rm(temporary, { recursive: true });
  }
}

async function world(t: TestContext): Promise<[FakeBroker, Provider]> {
  const provider = await Provider.start();
  const headers = [{ name: "X-Pendo-Integration-Key", value: "secret-key" }];
  const broker = await FakeBroker.start({ headers, allowedHosts: [provider.host] });
  t.after(() => Promise.all([broker.stop(), provider.stop()]));
  return [broker, provider];
}

for (const [name, example] of Object.entries({ fetch: fetchExample, undici: undiciExample, axios: axiosExample })) {
  test(`the README's example for ${name}`, async (t) => {
    const [broker, provider] = await world(t);
    await run(example, broker, provider);
    assert.deepEqual(
      provider.received.map(({ url, headers }) => [url, headers["x-pendo-integration-key"]]),
      [["/api/v1/feature", "secret-key"]],
    );
    const statements = example.match(/;( \/\/.*)?$/gm) ?? [];
    assert.ok(statements.length - 1 <= 5, "a user writes at most 5 lines besides the request");
  });
}

test("the README's example for errors", async (t) => {
  const [broker, provider] = await world(t);
  broker.decoration.allowedHosts = ["app.pendo.io"];
  const output = await run(
    fetchExample.replace(/^const response.*$/m, "") +
      errorExample.replace(/^import .*$/m, 'import { AuthmaterialError } from "@authmaterial/client";'),
    broker,
    provider,
  );
  assert.equal(output, "HOST_NOT_ALLOWED  undefined\n");
});
