/** What the behaviour table asks of each client: one verb, one JSON object a line. */
import process from "node:process";
import { parseArgs } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { parse } from "lossless-json";
import { connect, failure, fromStruct, fromValue, toStruct, type WatchOptions } from "metagov";
import { PerformActionRequestSchema, ProcessState } from "metagov/v1";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    after: { type: "string" },
    earliest: { type: "boolean" },
    community: { type: "string" },
    heartbeat: { type: "string" },
    count: { type: "string" },
    timeout: { type: "string" },
  },
});
const [verb = "", ...given] = positionals;

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Parses JSON without losing the digits of whole numbers. */
function json(text: string): object {
  const number = (digits: string) => (/^-?\d+$/.test(digits) ? BigInt(digits) : Number(digits));
  return parse(text, undefined, number) as object;
}

function argument(index: number): string {
  const value = given[index];
  if (value === undefined) throw new Error(`${verb}: argument ${index + 1} is missing`);
  return value;
}

/** A number of seconds, in milliseconds. */
function ms(seconds: string | undefined): number | undefined {
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

async function watch(which: Pick<WatchOptions, "start" | "filter" | "subscriptionId">): Promise<void> {
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort());
  let isReady = false;
  let left = Number(values.count ?? Infinity);
  const events = connect().watch({
    ...which,
    signal: stop.signal,
    heartbeatMs: ms(values.heartbeat),
    onConnect: (cursor) => {
      if (!isReady) say({ ready: true, cursor });
      isReady = true;
    },
    onRetry: ({ code }, delayMs) => say({ retry: { code, delay: delayMs / 1000 } }),
  });
  for await (const { event, cursor } of events) {
    say({ event_id: event.eventId, cursor, kind: snake(event.payload.case ?? "") });
    if (--left === 0) break;
  }
}

/** The name of a field as the contract spells it. */
function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function start(): WatchOptions["start"] {
  if (values.after !== undefined) return { after: values.after };
  return values.earliest ? "earliest" : "latest";
}

const verbs: Record<string, () => Promise<void>> = {
  watch: () => watch({ start: start(), filter: values.community ? { communityIds: [values.community] } : undefined }),

  "watch-subscription": () => watch({ subscriptionId: argument(0) }),

  wait: async () => {
    const options = { timeoutMs: ms(values.timeout), onRetry: logged };
    const decided = await connect().waitForProcess(argument(0), options);
    const leading = decided.tally?.leadingOptions ?? [];
    say({ state: ProcessState[decided.state], leading, outcome: fromStruct(decided.outcome) });
  },

  perform: async () => {
    const parameters = toStruct(json(argument(2)));
    const request = { communityId: argument(0), action: argument(1), parameters };
    const { result } = await connect().actions.performAction(request);
    say({ result: fromValue(result) });
  },

  "get-community": async () => {
    const { community } = await connect().communities.getCommunity({ communityId: argument(0) });
    say({ community_id: community?.communityId, display_name: community?.displayName });
  },

  struct: async () => {
    const sent = create(PerformActionRequestSchema, { parameters: toStruct(json(argument(0))) });
    const bytes = toBinary(PerformActionRequestSchema, sent);
    say({ struct: fromStruct(fromBinary(PerformActionRequestSchema, bytes).parameters) });
  },

  cancel: async () => {
    const events = connect().watch({ onConnect: () => events.close() });
    for await (const _ of events);
    say({ cancelled: true });
  },
};

function logged({ code, message }: { code: string; message: string }, delayMs: number): void {
  process.stderr.write(`${code}: ${message}; again in ${Math.round(delayMs)} ms\n`);
}

try {
  const run = verbs[verb];
  if (!run) throw new Error(`${verb} is none of ${Object.keys(verbs).join(", ")}`);
  await run();
} catch (error) {
  const { retryDelayMs, ...why } = failure(error);
  say({ error: { ...why, retry_delay: retryDelayMs === undefined ? null : retryDelayMs / 1000 } });
  process.exitCode = 1;
}
