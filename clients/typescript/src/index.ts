export { Client } from "./client.js";
export { AuthmaterialError, type Reason } from "./errors.js";
export type { ClientOptions, ConnectionOptions, Fetch } from "./options.js";
