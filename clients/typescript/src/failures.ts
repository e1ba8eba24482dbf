import { fromBinary } from "@bufbuild/protobuf";
import { DurationSchema, type Duration } from "@bufbuild/protobuf/wkt";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { ConnectError } from "@connectrpc/connect";

import { AuthmaterialError, type Reason } from "./errors.js";
import type { AuthDecorationError } from "./gen/authmaterial/v1/broker_service_pb.js";
import { ErrorReason } from "./gen/authmaterial/v1/error_reason_pb.js";

function noMaterial(reason: Reason, credentialId: string, why: string, retryDelayMs?: number) {
  const message = `get the material of credential ${JSON.stringify(credentialId)}: ${reason}: ${why}`;
  return new AuthmaterialError(reason, credentialId, message, retryDelayMs);
}

export function closedError(credentialId: string): AuthmaterialError {
  return noMaterial("BROKER_UNREACHABLE", credentialId, "the client is closed");
}

/** Returns the error for an answer that the client cannot use. */
export function unusableError(credentialId: string, why: string): AuthmaterialError {
  return noMaterial("INTERNAL", credentialId, why);
}

/** Returns the error for a call to the broker at an address that failed. */
export function callError(credentialId: string, failed: ConnectError, address: string): AuthmaterialError {
  const reason = failed.metadata.get("authmaterial-error-reason");
  const why =
    reason === null ? `call the broker at ${address}: ${explain(failed.rawMessage, address)}` : failed.rawMessage;
  return noMaterial(reason ?? "BROKER_UNREACHABLE", credentialId, why, retryDelay(failed));
}

/** Addresses and errors of Node.js, and what to do about them. */
const advice: [RegExp, string][] = [
  [/wrong version number/, "for a broker without TLS, use an address with http://"],
  [/^http:.*(Protocol error|error code CANCEL)/, "for a broker with TLS, use an address with https://"],
  [
    /self-signed certificate|local issuer|first certificate/,
    "set caFile to the authorities of the broker's certificate",
  ],
];

function explain(message: string, address: string): string {
  const [, openssl] = /:SSL routines:[^:]*:([^:]+):/.exec(message) ?? [];
  const why = openssl ?? message;
  const [, help] = advice.find(([pattern]) => pattern.test(`${address} ${why}`)) ?? [];
  return help === undefined ? why : `${why}: ${help}`;
}

/** Returns the error for a state of a watched credential. */
export function stateError(credentialId: string, state: AuthDecorationError): AuthmaterialError {
  const reason = (ErrorReason[state.reason] as Reason | undefined) ?? "INTERNAL";
  return noMaterial(reason, credentialId, state.message, state.retryDelay && milliseconds(state.retryDelay));
}

const retryInfo = "google.rpc.RetryInfo";

function retryDelay(failed: ConnectError): number | undefined {
  for (const detail of failed.details) {
    if ("type" in detail && detail.type === retryInfo) {
      return firstDuration(detail.value);
    }
  }
  return undefined;
}

/** Reads the first field of a message, which must be a duration. */
function firstDuration(message: Uint8Array): number | undefined {
  try {
    const reader = new BinaryReader(message);
    const [field] = reader.tag();
    return field === 1 ? milliseconds(fromBinary(DurationSchema, reader.bytes())) : undefined;
  } catch {
    return undefined;
  }
}

function milliseconds(duration: Duration): number {
  return Math.max(0, Number(duration.seconds) * 1000 + duration.nanos / 1e6);
}
