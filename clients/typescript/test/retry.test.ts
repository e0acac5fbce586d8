import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { Backoff } from "../src/backoff.js";
import { resuming, type Way } from "../src/retry.js";

/** A way that ends by itself, and how often it was retried. */
function way(): { way: Way; retries: string[]; end: () => void } {
  const own = new AbortController();
  const retries: string[] = [];
  const onRetry: Way["onRetry"] = ({ code }) => retries.push(code);
  return { way: { signal: own.signal, onRetry, heartbeatMs: 1000, hangUp() {} }, retries, end: () => own.abort() };
}

test("delays double up to ten seconds, and are never less than asked for", () => {
  const backoff = new Backoff();
  for (const whole of [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]) {
    const delay = backoff.next();
    assert.ok(delay >= whole / 2 && delay <= whole, `${delay} of ${whole}`);
  }
  assert.equal(backoff.next(60_000), 60_000);
  backoff.reset();
  assert.ok(backoff.next() <= 100);
});

test("a stream is opened again after its end and after what passes", async () => {
  const { way: it, retries, end } = way();
  const faults = [undefined, Code.Unavailable, Code.Unknown];
  let opened = 0;
  async function* open() {
    yield opened;
    const fault = faults[opened++];
    if (fault !== undefined) throw new ConnectError("", fault);
  }
  const had: number[] = [];
  for await (const message of resuming(open, it)) {
    had.push(message);
    if (message === 3) end();
  }
  assert.deepEqual(had, [0, 1, 2, 3]);
  assert.deepEqual(retries, ["UNAVAILABLE", "UNAVAILABLE", "UNKNOWN"]);
});

test("what does not pass ends it", async () => {
  for (const code of [Code.Unauthenticated, Code.OutOfRange, Code.Unimplemented, Code.NotFound]) {
    const { way: it, retries } = way();
    async function* open(): AsyncGenerator<never> {
      throw new ConnectError("", code);
    }
    await assert.rejects(async () => {
      for await (const _ of resuming(open, it));
    }, { code });
    assert.deepEqual(retries, []);
  }
});

test("an error of the program itself is not retried", async () => {
  async function* open(): AsyncGenerator<never> {
    throw new TypeError("a mistake");
  }
  await assert.rejects(async () => {
    for await (const _ of resuming(open, way().way));
  }, TypeError);
});
