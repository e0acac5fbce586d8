/** Calls that go on over faults that pass: of the network, and of a gateway that restarts. */
import { Code, ConnectError } from "@connectrpc/connect";
import { isTlsFault } from "./advice.js";
import { Backoff, pause } from "./backoff.js";
import { causes, failure, type Failure } from "./failure.js";

/** What a caller of a resuming helper may say and hear. */
export interface Resuming {
  /** Ends it. */
  signal?: AbortSignal | undefined;
  /** Called before each wait, with why and how long. For logs. */
  onRetry?: ((why: Failure, delayMs: number) => void) | undefined;
  /** The longest silence asked of the gateway: 1,000 to 300,000 ms. Default 15,000. */
  heartbeatMs?: number | undefined;
}

/** The same as it is used, with all that is left out filled in. */
export interface Way {
  readonly signal: AbortSignal;
  readonly onRetry: Resuming["onRetry"];
  readonly heartbeatMs: number;
  /** Gives up the connection that died, so that the next call makes another. */
  readonly hangUp: () => void;
}

/** Opens a stream of messages, until the signal. */
export type Open<T> = (signal: AbortSignal) => AsyncIterable<T>;

/**
 * The messages of a stream that is opened again after each end and each fault that
 * passes. Ends with the signal only; throws what does not pass.
 */
export async function* resuming<T>(open: Open<T>, way: Way): AsyncGenerator<T, void> {
  const backoff = new Backoff();
  while (!way.signal.aborted) {
    let why: unknown = new ConnectError("the stream ended", Code.Unavailable);
    try {
      for await (const message of line(open, way)) {
        backoff.reset();
        yield message;
      }
    } catch (error) {
      why = error;
    }
    await recover(why, backoff, way);
  }
}

/** The answer of a call that is made again after each fault that passes. */
export async function retrying<T>(call: (signal: AbortSignal) => Promise<T>, way: Way): Promise<T | undefined> {
  const open: Open<T> = async function* (signal) {
    yield await call(signal);
  };
  for await (const answer of resuming(open, way)) return answer;
  return undefined;
}

/** Waits as the backoff says, or throws what does not pass. */
async function recover(error: unknown, backoff: Backoff, way: Way): Promise<void> {
  if (way.signal.aborted) return;
  const why = failure(error);
  if (!passes(why, error)) throw error;
  const delay = backoff.next(why.retryDelayMs);
  way.onRetry?.(why, delay);
  await pause(delay, way.signal);
}

/** Whether trying again may help. */
function passes({ code, reason }: Failure, error: unknown): boolean {
  if (isTlsFault(causes(error))) return false;
  switch (code) {
    case "UNAVAILABLE":
    case "ABORTED":
    case "DEADLINE_EXCEEDED":
      return true;
    case "RESOURCE_EXHAUSTED":
      return reason !== "ERROR_REASON_MESSAGE_TOO_LARGE";
    case "CANCELLED":
    case "INTERNAL":
    case "UNKNOWN":
      // Not of the gateway, but of the connection or of a proxy on the way.
      return reason === "" && error instanceof ConnectError;
    default:
      return false;
  }
}

/** One stream, which is given up when it falls silent. */
async function* line<T>(open: Open<T>, way: Way): AsyncGenerator<T, void> {
  const own = new AbortController();
  const cut = () => own.abort();
  way.signal.addEventListener("abort", cut);
  try {
    const messages = open(own.signal)[Symbol.asyncIterator]();
    for (;;) {
      const next = await heard(messages.next(), way);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    way.signal.removeEventListener("abort", cut);
    cut();
  }
}

/** What is awaited, unless nothing comes for so long that the connection must be dead. */
async function heard<T>(awaited: Promise<T>, { heartbeatMs, hangUp }: Way): Promise<T> {
  const silenceMs = 2 * heartbeatMs + 5_000;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      hangUp();
      reject(new ConnectError(`nothing was heard for ${silenceMs / 1000} s`, Code.DeadlineExceeded));
    }, silenceMs);
  });
  return Promise.race([awaited, silence]).finally(() => clearTimeout(timer));
}
