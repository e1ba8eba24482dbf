import type { Core } from "./core.js";
import { getTimeout, reportTimeout, retry } from "./calls.js";
import type { AuthmaterialError } from "./errors.js";
import { closedError, stateError, unusableError } from "./failures.js";
import type { AuthDecoration } from "./gen/authmaterial/v1/auth_decoration_pb.js";
import {
  ReportRejectionResponse_Outcome,
  type WatchAuthDecorationsResponse,
} from "./gen/authmaterial/v1/broker_service_pb.js";
import { Prepared } from "./prepared.js";

const minRemembered = 1_000;
const maxRemembered = 30_000;
/**
 * How long a version that was replaced after a rejection is ignored: a replica that does not know
 * its successor yet could still send it.
 */
const ignoreReplaced = 60_000;
const repeatReport = 60_000;
const minReportDelay = 1_000;

interface Call {
  promise: Promise<Prepared>;
  resolve: (p: Prepared) => void;
  reject: (error: unknown) => void;
}

/** A report of a rejected version, for which requests wait. */
interface Report {
  /** The decoration with which requests can be repeated. */
  successor: Promise<Prepared | undefined>;
  /** The version is not reported again before this time. */
  until: number;
}

/** What a client knows about one credential. */
export class Credential {
  readonly id: string;
  /** The number of working streams that have delivered the state. */
  live = 0;
  /** A stream watches the credential, or will be opened for it. */
  watched = false;
  lastUse = 0;
  readonly #core: Core;
  #copy: Prepared | undefined;
  #call: Call | undefined;
  #failure: { error: AuthmaterialError; until: number } | undefined;
  readonly #replaced = new Map<string, number>();
  readonly #reports = new Map<string, Report>();

  constructor(core: Core, id: string) {
    this.#core = core;
    this.id = id;
  }

  /** Returns the decoration for a request, at once if the copy can be used. */
  get(): Prepared | Promise<Prepared> {
    const now = this.#core.now();
    const copy = this.#copy;
    if (!copy || copy.expired(now)) {
      return this.#wait(now);
    }
    if (this.live === 0) {
      this.#refresh(now, copy);
    }
    return copy;
  }

  async #wait(now: number): Promise<Prepared> {
    if (this.#core.closed) {
      throw closedError(this.id);
    }
    this.#core.watches.add(this);
    if (this.#failure && now < this.#failure.until) {
      throw this.#failure.error;
    }
    return this.#core.hold((this.#call ?? this.#begin()).promise);
  }

  /** Starts a call in the background if the broker has renewed the material, and no stream has delivered it. */
  #refresh(now: number, copy: Prepared): void {
    this.#core.watches.add(this);
    if (now >= copy.refreshTime && !(this.#failure && now < this.#failure.until) && !this.#call) {
      this.#begin();
    }
  }

  #begin(): Call {
    const call = {} as Call;
    call.promise = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    call.promise.catch(() => undefined); // nobody waits for a call in the background
    this.#call = call;
    void this.#run(call);
    return call;
  }

  async #run(call: Call): Promise<void> {
    const { connection, stopped } = this.#core;
    try {
      const answer = await retry(connection, this.id, getTimeout, stopped, (broker, options) =>
        broker.getAuthDecoration({ credentialId: this.id }, options),
      );
      const prepared = this.#prepare(answer.authDecoration);
      if (this.#end(call)) {
        this.#install(prepared);
        call.resolve(prepared);
      }
    } catch (error) {
      if (this.#end(call)) {
        this.#fail(error as AuthmaterialError);
        call.reject(error);
      }
    }
  }

  /** Ends a call, and returns false if a stream has ended it. */
  #end(call: Call): boolean {
    const current = this.#call === call;
    if (current) {
      this.#call = undefined;
    }
    return current;
  }

  #prepare(decoration: AuthDecoration | undefined): Prepared {
    if (!decoration) {
      throw unusableError(this.id, "the answer has no decoration");
    }
    try {
      return new Prepared(decoration);
    } catch (error) {
      throw unusableError(this.id, (error as Error).message);
    }
  }

  /** Makes a decoration the copy, unless it has a version that was rejected and replaced. */
  #install(prepared: Prepared): void {
    if (!this.#core.closed && this.#core.now() >= (this.#replaced.get(prepared.version) ?? 0)) {
      this.#copy = prepared;
      this.#failure = undefined;
    }
  }

  /** Remembers an error, and removes the copy if the error means that it must not be used. */
  #fail(error: AuthmaterialError): void {
    if (["CREDENTIAL_NOT_FOUND", "ACCESS_DENIED", "CREDENTIAL_REJECTED"].includes(error.reason)) {
      this.#copy = undefined;
    }
    const remembered = Math.min(Math.max(error.retryDelayMs ?? 0, minRemembered), maxRemembered);
    this.#failure = { error, until: this.#core.now() + remembered };
  }

  /** Processes a state from a stream. */
  deliver({ state }: WatchAuthDecorationsResponse): void {
    try {
      if (state.case === "error") {
        throw stateError(this.id, state.value);
      }
      const prepared = this.#prepare(state.value);
      this.#install(prepared);
      if (this.#copy === prepared && this.#call) {
        this.#call.resolve(prepared);
        this.#call = undefined;
      }
    } catch (error) {
      this.#fail(error as AuthmaterialError);
    }
  }

  /** Records that a decoration is sent with a request. */
  use(prepared: Prepared): void {
    const now = this.#core.now();
    if (now >= prepared.nextUse) {
      this.lastUse = now;
      prepared.nextUse = this.#core.usage.record(prepared, now);
    }
  }

  /**
   * Processes a provider's rejection of a decoration. Returns the decoration with which the request
   * can be repeated. A report that fails is not an error of the request, because the provider's
   * answer is more useful to the program than an error of the broker.
   */
  async reject(rejected: Prepared, httpStatus: number): Promise<Prepared | undefined> {
    if (this.#core.closed) {
      return undefined;
    }
    const now = this.#core.now();
    if (this.#copy && this.#copy.version !== rejected.version && !this.#copy.expired(now)) {
      return this.#copy;
    }
    for (const [version, { until }] of this.#reports) {
      if (now >= until) {
        this.#reports.delete(version);
      }
    }
    let report = this.#reports.get(rejected.version);
    if (!report) {
      report = { until: Infinity, successor: Promise.resolve(undefined) };
      report.successor = this.#report(report, rejected.version, httpStatus);
      this.#reports.set(rejected.version, report);
    }
    return this.#core.hold(report.successor);
  }

  async #report(report: Report, version: string, httpStatus: number): Promise<Prepared | undefined> {
    const { connection, stopped } = this.#core;
    try {
      const answer = await retry(connection, this.id, reportTimeout, stopped, (broker, options) =>
        broker.reportRejection({ credentialId: this.id, version, httpStatus }, options),
      );
      const successor = this.#prepare(answer.authDecoration);
      const now = this.#core.now();
      const { ALREADY_REPLACED, REPLACED } = ReportRejectionResponse_Outcome;
      const replaced = answer.outcome === ALREADY_REPLACED || answer.outcome === REPLACED;
      report.until = replaced ? now : now + repeatReport;
      if (replaced && successor.version !== version) {
        this.#ignore(version, now);
        this.#replaced.delete(successor.version); // it has become current again
      }
      this.#install(successor);
      return replaced ? successor : undefined;
    } catch (error) {
      const delay = (error as AuthmaterialError).retryDelayMs ?? 0;
      report.until = this.#core.now() + Math.max(delay, minReportDelay);
      return undefined;
    }
  }

  #ignore(version: string, now: number): void {
    for (const [other, until] of this.#replaced) {
      if (now >= until) {
        this.#replaced.delete(other);
      }
    }
    this.#replaced.set(version, now + ignoreReplaced);
  }

  forget(): void {
    this.#copy = undefined;
  }
}
