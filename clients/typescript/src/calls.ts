import { Code, ConnectError, type CallOptions } from "@connectrpc/connect";
import { setTimeout as delay } from "node:timers/promises";

import type { Broker, Connection } from "./connection.js";
import { callError, closedError } from "./failures.js";

/**
 * To get a new token, the broker may wait 3 s for its turn and 2 s for Redis, before a token request
 * of up to 10 s.
 */
export const getTimeout = 20_000;
/** The broker may wait for three token requests before it answers a report. */
export const reportTimeout = 45_000;

const retryFor = 5_000;
const firstPause = 200;
const maxPause = 1_000;

/**
 * Makes a call, and makes it again while it fails with UNAVAILABLE. The timeout is that of one
 * attempt. The error is an AuthmaterialError.
 */
export async function retry<T>(
  connection: Connection,
  credentialId: string,
  timeoutMs: number,
  stopped: AbortSignal,
  make: (broker: Broker, options: CallOptions) => Promise<T>,
): Promise<T> {
  const began = performance.now();
  for (let pause = firstPause; ; pause = Math.min(2 * pause, maxPause)) {
    try {
      return await connection.unary(make, timeoutMs, stopped);
    } catch (caught) {
      const failed = ConnectError.from(caught);
      const error = stopped.aborted ? closedError(credentialId) : callError(credentialId, failed, connection.address);
      const wait = error.retryDelayMs ?? pause;
      if (!isUnavailable(failed) || performance.now() - began + wait >= retryFor || !(await sleep(wait, stopped))) {
        throw stopped.aborted ? closedError(credentialId) : error;
      }
    }
  }
}

/**
 * Reports whether a call failed with UNAVAILABLE. gRPC gives this code to a call without an answer;
 * Connect gives it several codes.
 */
export function isUnavailable(failed: ConnectError): boolean {
  const answered = failed.metadata.has("grpc-status");
  return (
    failed.code === Code.Unavailable ||
    (!answered && ![Code.Canceled, Code.DeadlineExceeded, Code.Unauthenticated].includes(failed.code))
  );
}

/** Waits, without keeping the process alive, and reports whether the signal is still not aborted. */
export async function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  return delay(ms, true, { signal, ref: false }).catch(() => false);
}
