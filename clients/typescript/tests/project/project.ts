// A project that installs the package, without undici and axios. Library types are checked, too.
import { AuthmaterialError, Client, type Fetch, type Reason } from "@authmaterial/client";

const broker = new Client("http://127.0.0.1:9");
const pendo: Fetch = broker.fetch("pendo");
try {
  await pendo("https://example.test/");
  throw new Error("the request succeeded");
} catch (error) {
  if (!(error instanceof AuthmaterialError)) {
    throw error;
  }
  const reason: Reason = error.reason;
  if (reason !== "BROKER_UNREACHABLE") {
    throw error;
  }
}
await broker.close();
console.log("the package works");
