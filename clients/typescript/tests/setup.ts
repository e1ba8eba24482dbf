import type { ServerResponse } from "node:http";
import type { TestContext } from "node:test";

import { Client } from "../src/index.js";
import { FakeBroker } from "./broker.js";
import { Provider, type Received } from "./provider.js";

export const secret = "secret-key-1";

/** A client with a broker, a provider that may get the material, and another server. */
export interface Setup {
  broker: FakeBroker;
  client: Client;
  provider: Provider;
  other: Provider;
}

export async function setUp(
  t: TestContext,
  answer?: (request: Received, response: ServerResponse, other: Provider) => void,
): Promise<Setup> {
  const other = await Provider.start();
  const provider = await Provider.start(
    answer &&
      ((request, response) => {
        answer(request, response, other);
      }),
  );
  const broker = await FakeBroker.start({
    headers: [{ name: "X-Api-Key", value: secret }],
    queryParams: [{ name: "key", value: "secret-query-1" }],
    allowedHosts: [provider.host],
    rejectedStatuses: [401],
  });
  const client = new Client(broker.address);
  t.after(async () => {
    await client.close();
    await Promise.all([broker.stop(), provider.stop(), other.stop()]);
  });
  return { broker, client, provider, other };
}

/** Rejections with the status 200. */
export const rejectedWhen = [
  { statuses: [200], json: { members: [{ path: ["ok"], value: { case: "boolValue" as const, value: false } }] } },
];

/** Answers with a redirect if the path of the request is /redirect. */
export function redirecting(location: string, status = 302) {
  return (request: Received, response: ServerResponse, other: Provider): void => {
    if (request.url.startsWith("/redirect")) {
      response.writeHead(status, { location: location.replace("OTHER", other.url) }).end("moved");
    }
  };
}

/** Answers with 401 unless a request has the second key. */
export function rejecting(request: Received, response: ServerResponse): void {
  response.statusCode = request.headers["x-api-key"] === "secret-key-2" ? 200 : 401;
}
