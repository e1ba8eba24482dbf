import { ConnectError } from "@connectrpc/connect";
import { DurationSchema, type Duration } from "@bufbuild/protobuf/wkt";
import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";

import { ErrorReason } from "./gen/authmaterial/v1/error_reason_pb.js";
import type { AuthDecorationError } from "./gen/authmaterial/v1/broker_service_pb.js";

/**
 * The reason of an {@link AuthmaterialError}: a reason of the broker, as in the enum `ErrorReason`
 * of the API but without the prefix `ERROR_REASON_`, or one of the client:
 *
 * - `BROKER_UNREACHABLE`: there is no material that can be used, and the broker did not answer.
 * - `HOST_NOT_ALLOWED`: the material must not be sent to the host of the request, or not without
 *   https. Nothing was sent.
 *
 * Later versions of the broker may have more reasons.
 */
export type Reason =
  "BROKER_UNREACHABLE" | "HOST_NOT_ALLOWED" | Exclude<keyof typeof ErrorReason, "UNSPECIFIED"> | (string & {});

/**
 * The error of a request that was not sent, because there is no material for it, or because it must
 * not get the material. The error contains no secret.
 */
export class AuthmaterialError extends Error {
  override readonly name = "AuthmaterialError";
  readonly reason: Reason;
  /** The ID of the credential that the request needs. */
  readonly credentialId: string;
  /** How many milliseconds to wait before a retry, if the broker named a delay. */
  readonly retryDelayMs: number | undefined;

  /** @internal */
  constructor(reason: Reason, credentialId: string, message: string, retryDelayMs?: number) {
    super(message);
    this.reason = reason;
    this.credentialId = credentialId;
    this.retryDelayMs = retryDelayMs;
  }
}

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

/** Returns the error for a call that failed. */
export function callError(credentialId: string, failed: ConnectError): AuthmaterialError {
  const reason = failed.metadata.get("authmaterial-error-reason") ?? "BROKER_UNREACHABLE";
  return noMaterial(reason, credentialId, failed.rawMessage, retryDelay(failed));
}

/** Returns the error for a state of a watched credential. */
export function stateError(credentialId: string, state: AuthDecorationError): AuthmaterialError {
  const reason = ErrorReason[state.reason] ?? "INTERNAL";
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
