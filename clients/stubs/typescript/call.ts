// Calls a broker with generated stubs: `node call.js ADDRESS`.
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BrokerService } from "./authmaterial/v1/broker_service_pb.js";

const broker = createClient(
  BrokerService,
  createGrpcTransport({ baseUrl: `http://${process.argv[2]}` }),
);
const response = await broker.getAuthDecoration({ credentialId: "sendpulse-key" });
for (const header of response.authDecoration?.headers ?? []) {
  console.log(`${header.name}: ${header.value}`);
}
try {
  await broker.getAuthDecoration({ credentialId: "unknown" });
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  console.log(error.metadata.get("authmaterial-error-reason"));
}
