import * as http from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** A provider on 127.0.0.1 that keeps the requests it gets. */
export class Provider {
  readonly received: Received[] = [];
  readonly #server: http.Server;

  private constructor(server: http.Server) {
    this.#server = server;
  }

  /**
   * `answer` answers a request whose body has been read. The default answer is 200 with `ok`. An answer
   * with the header `x-unfinished` does not end.
   */
  static async start(answer?: (request: Received, response: http.ServerResponse) => void): Promise<Provider> {
    const server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method = "", url = "", headers } = request;
        const received = { method, url, headers, body: Buffer.concat(chunks).toString() };
        provider.received.push(received);
        if (answer) {
          answer(received, response);
        }
        if (!response.writableEnded && !response.hasHeader("x-unfinished")) {
          response.end("ok");
        }
      });
    });
    const provider = new Provider(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return provider;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
