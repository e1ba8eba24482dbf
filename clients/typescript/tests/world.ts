import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** An operation of a vector, as clients/vectors/README.md describes. */
export interface Operation {
  session: string;
  op: string;
  why?: string;
  figures?: unknown;
  broker: {
    address: string;
    plaintext: boolean;
    ca_file?: string;
    certificate_file?: string;
    key_file?: string;
    server_name?: string;
    token_file?: string;
  };
  provider_ca_file?: string;
  now?: number;
  credential: string;
  credentials?: string[];
  method: string;
  url: string;
  headers?: [string, string][];
  body?: string;
  body_repeatable: boolean;
  follow_redirects: boolean;
  count?: number;
  concurrency?: number;
  decoration: object;
  seconds: number;
}

/** The program clientworld, which tells the runner what to do. */
export class World {
  readonly #process: ChildProcess;
  readonly #url: string;

  private constructor(process: ChildProcess, url: string) {
    this.#process = process;
    this.#url = url;
  }

  static async start(): Promise<World> {
    const path = process.env["CLIENTWORLD"];
    if (!path) {
      throw new Error(
        "CLIENTWORLD must be the path of the program clientworld: run `make clientworld` in the top folder",
      );
    }
    const started = spawn(path, { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = (await once(createInterface(started.stdout), "line")) as [string];
    return new World(started, (JSON.parse(line) as { url: string }).url);
  }

  async vectors(kind = ""): Promise<string[]> {
    return (await (await fetch(`${this.#url}/vectors?kind=${kind}`)).json()) as string[];
  }

  /** Runs a vector. `perform` performs an operation, and returns its outcome. */
  async run(name: string, client: string, perform: (op: Operation) => Promise<object>): Promise<Operation> {
    let op = await this.#post(`/vectors/${name}`, { client });
    while (op.op !== "done" && op.op !== "failed") {
      op = await this.#post(`/sessions/${op.session}`, await perform(op));
    }
    return op;
  }

  async #post(path: string, body: object): Promise<Operation> {
    const response = await fetch(this.#url + path, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) {
      throw new Error(await response.text());
    }
    return (await response.json()) as Operation;
  }

  stop(): void {
    this.#process.kill();
  }
}
