import type { AuthDecoration, JsonCondition, JsonMemberCondition } from "./gen/authmaterial/v1/auth_decoration_pb.js";

/** The size of the largest body that is compared with a condition, in bytes. */
export const maxBody = 64 << 10;

/** Returns the values of a header, joined by a comma and a space. */
type Header = (lowerCaseName: string) => string | null | undefined;

/** Recognises the responses with which a provider rejects a decoration. */
export class Rejection {
  readonly #decoration: AuthDecoration;

  constructor(decoration: AuthDecoration) {
    this.#decoration = decoration;
  }

  /**
   * Returns true if a response is a rejection. Otherwise, it returns the conditions for the body, and
   * the response is a rejection if its body matches one of them.
   */
  decide(httpStatus: number, header: Header): true | JsonCondition[] {
    const { rejectedStatuses, rejectedWhen } = this.#decoration;
    const matching = rejectedWhen.filter(
      ({ statuses, headers }) =>
        statuses.includes(httpStatus) && headers.every(({ name, value }) => header(name.toLowerCase()) === value),
    );
    if (rejectedStatuses.includes(httpStatus) || matching.some(({ json }) => !json)) {
      return true;
    }
    const mediaType = header("content-type")?.split(";")[0]?.trim().toLowerCase();
    if (mediaType === "text/event-stream" || Number(header("content-length") ?? 0) > maxBody) {
      return [];
    }
    return matching.flatMap(({ json }) => json ?? []);
  }
}

/** Reports whether a complete body matches one of the conditions. */
export function matches(body: Uint8Array, conditions: JsonCondition[]): boolean {
  if (body.length > maxBody) {
    return false;
  }
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    return false;
  }
  return conditions.some(({ members }) => members.every((member) => memberMatches(document, member)));
}

function memberMatches(value: unknown, { path, value: wanted, negated }: JsonMemberCondition): boolean {
  for (const step of path) {
    const isStep = !Array.isArray(value) || /^(0|[1-9][0-9]*)$/.test(step);
    if (typeof value !== "object" || value === null || !isStep || !Object.hasOwn(value, step)) {
      return false;
    }
    value = (value as Record<string, unknown>)[step];
  }
  return wanted.case !== undefined && (value === wanted.value) !== negated;
}
