import type { ErrorReason } from "./gen/authmaterial/v1/error_reason_pb.js";

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
