import type { Dispatcher } from "undici";

type Controller = Dispatcher.DispatchController;

/** The controller that the program gets for all requests to providers. */
export class Relay implements Controller {
  #target: Controller | undefined;
  #paused = false;
  #held = false;
  #reason: Error | null = null;
  #location: { value: string | undefined } | undefined;
  /** Is called if the program aborts while no request is open. */
  onAbort: ((reason: Error) => void) | undefined;

  relayTo(target: Controller): void {
    this.#target = target;
    this.#location = undefined;
    if (this.#reason) {
      target.abort(this.#reason);
    } else if (this.#paused) {
      target.pause();
    }
  }

  /** Passes a response on that was paused. */
  later(pass: () => void): void {
    this.#held = true;
    pass();
    this.#held = false;
    if (!this.#paused) {
      this.#target?.resume();
    }
  }

  pause(): void {
    this.#paused = true;
    this.#target?.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#held) {
      this.#target?.resume();
    }
  }

  abort(reason?: Error): void {
    // Without a reason, undici makes an error like this one.
    const error =
      reason ?? Object.assign(new Error("Request aborted"), { name: "AbortError", code: "UND_ERR_ABORTED" });
    this.#reason ??= error;
    this.#target?.abort(error);
    const { onAbort } = this;
    this.onAbort = undefined;
    onAbort?.(this.#reason);
  }

  get aborted(): boolean {
    return this.#reason !== null;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get reason(): Error | null {
    return this.#reason;
  }

  replaceLocation(value: string | undefined): void {
    this.#location = { value };
  }

  get rawHeaders() {
    const raw = this.#target?.rawHeaders ?? null;
    return this.#location && Array.isArray(raw) ? replaceLocation(raw, this.#location.value) : raw;
  }

  get rawTrailers() {
    return this.#target?.rawTrailers ?? null;
  }
}

/** Replaces the Location header in a list of names and values. */
function replaceLocation(raw: (Buffer | string)[], value: string | undefined): Buffer[] {
  const replaced: Buffer[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const isLocation = raw[i]?.toString().toLowerCase() === "location";
    if (!isLocation || value !== undefined) {
      replaced.push(Buffer.from(raw[i] ?? ""), Buffer.from(isLocation ? (value ?? "") : (raw[i + 1] ?? "")));
    }
  }
  return replaced;
}
