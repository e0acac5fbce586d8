/** How long to wait before trying again. */

const FIRST_MS = 100;
const LONGEST_MS = 10_000;

/** Delays that double from 0.1 s to 10 s, each made shorter by up to half at random. */
export class Backoff {
  #next = FIRST_MS;

  /** The next delay, in milliseconds; never less than what the gateway asks for. */
  next(least = 0): number {
    const delay = this.#next * (0.5 + Math.random() / 2);
    this.#next = Math.min(this.#next * 2, LONGEST_MS);
    return Math.max(delay, least);
  }

  /** After something went well. */
  reset(): void {
    this.#next = FIRST_MS;
  }
}

/** Waits so long, or until the signal. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
