import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";

const folder = new URL("../../", import.meta.url).pathname;

test("src/gen is what `npm run generate` makes", async () => {
  const fresh = await mkdtemp(`${folder}build/gen-`);
  try {
    await promisify(execFile)("npx", ["buf", "generate", "--output", fresh], { cwd: folder });
    assert.deepEqual(await read(`${folder}src/gen`), await read(`${fresh}/src/gen`));
  } finally {
    await rm(fresh, { recursive: true });
  }
});

async function read(path: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) {
      const file = `${entry.parentPath}/${entry.name}`;
      files[file.slice(path.length)] = await readFile(file, "utf8");
    }
  }
  return files;
}
