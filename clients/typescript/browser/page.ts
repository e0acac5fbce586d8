/**
 * The page that tests/browser opens. It does what its address asks for, and reports what
 * it sees to the server that it came from, in order.
 */
import { connect, failure, fromValue, toStruct, type WatchOptions } from "metagov/web";
import { ProcessState } from "metagov/v1";

const asked = new URLSearchParams(location.search);
const communityId = asked.get("community") ?? "";
const metagov = connect({
  endpoint: asked.get("endpoint") ?? undefined,
  token: asked.get("token") ?? undefined,
});

let told: Promise<unknown> = Promise.resolve();

function report(what: object): void {
  const body = JSON.stringify(what);
  told = told.then(() => fetch(`/report?tab=${asked.get("tab")}`, { method: "POST", body }));
}

/** Watches the community, and reports what becomes of that. */
function watch(options: WatchOptions = {}) {
  return metagov.watch({
    filter: { communityIds: [communityId] },
    onConnect: () => report({ ready: true }),
    onRetry: ({ code, advice }) => report({ retry: { code, advice } }),
    ...options,
  });
}

/** Whether a call is answered in time. */
async function isAnswered(timeoutMs: number): Promise<boolean> {
  const call = metagov.communities.getCommunity({ communityId }, { timeoutMs });
  return call.then(() => true, () => false);
}

const scenes: Record<string, () => Promise<void>> = {
  /** One call after the other. */
  call: async () => {
    const { community } = await metagov.communities.getCommunity({ communityId });
    const parameters = toStruct(JSON.parse(asked.get("parameters") ?? "{}"));
    const action = "randomness.random-int";
    const { result } = await metagov.actions.performAction({ communityId, action, parameters });
    report({ name: community?.displayName, result: fromValue(result) });
  },

  /** The feed, for as long as the page is there. */
  watch: async () => {
    for await (const { event } of watch()) report({ event_id: event.eventId });
  },

  /** A process, to its end. */
  wait: async () => {
    const decided = await metagov.waitForProcess(asked.get("process") ?? "");
    report({ state: ProcessState[decided.state], leading: decided.tally?.leadingOptions });
  },

  /** A feed that is left while an event is awaited. */
  cancel: async () => {
    const stop = new AbortController();
    for await (const _ of watch({ signal: stop.signal, onConnect: () => stop.abort() }));
    report({ cancelled: true, answered: await isAnswered(10_000) });
  },

  /** Several feeds at once, and a call beside them; then one feed less. */
  crowd: async () => {
    const count = Number(asked.get("streams"));
    const feeds = Array.from({ length: count }, () => {
      let connected = (): void => undefined;
      const isReady = new Promise<void>((resolve) => (connected = resolve));
      const feed = watch({ onConnect: connected });
      void feed.next();
      return { feed, isReady };
    });
    await Promise.all(feeds.map(({ isReady }) => isReady));
    const beside = await isAnswered(3_000);
    feeds[0]?.feed.close();
    report({ beside, after: await isAnswered(10_000) });
  },
};

// Two tabs are one page that opens another.
const other = asked.get("other");
if (other) open(other, "_blank", "noopener");
try {
  await scenes[asked.get("do") ?? ""]?.();
} catch (error) {
  report({ error: failure(error) });
}
