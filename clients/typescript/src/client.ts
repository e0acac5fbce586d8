/** A gateway, as a driver sees it: every service, and what every driver needs beside them. */
import { createClient, type Client as Stub, type Transport } from "@connectrpc/connect";
import { done, late, type WaitOptions } from "./process.js";
import type { Resuming, Way } from "./retry.js";
import {
  AccessService,
  ActionService,
  CommunityService,
  EventService,
  IdentityService,
  PluginService,
  ProcessService,
  SubscriptionService,
  type Process,
} from "./v1.js";
import { Watch, type WatchOptions } from "./watch.js";

const HEARTBEAT_MS = 15_000;

/** The services of one gateway. Each throws ConnectError, which `failure` reads. */
export class Client {
  readonly access: Stub<typeof AccessService>;
  readonly actions: Stub<typeof ActionService>;
  readonly communities: Stub<typeof CommunityService>;
  readonly events: Stub<typeof EventService>;
  readonly identities: Stub<typeof IdentityService>;
  readonly plugins: Stub<typeof PluginService>;
  readonly processes: Stub<typeof ProcessService>;
  readonly subscriptions: Stub<typeof SubscriptionService>;
  readonly #hangUp: () => void;
  readonly #closed = new AbortController();

  /** @internal See `connect`. */
  constructor(transport: Transport, hangUp: () => void) {
    this.#hangUp = hangUp;
    this.access = createClient(AccessService, transport);
    this.actions = createClient(ActionService, transport);
    this.communities = createClient(CommunityService, transport);
    this.events = createClient(EventService, transport);
    this.identities = createClient(IdentityService, transport);
    this.plugins = createClient(PluginService, transport);
    this.processes = createClient(ProcessService, transport);
    this.subscriptions = createClient(SubscriptionService, transport);
  }

  /**
   * Events as they happen, without end. After a break or a restart of the gateway it goes
   * on where it was: no event is lost, none comes twice. See {@link Watch}.
   */
  watch(options: WatchOptions = {}): Watch {
    const [way, cut] = this.#way(options);
    return new Watch(this, options, way, cut);
  }

  /**
   * The process once it is COMPLETED, CANCELLED or FAILED, however often the connection
   * breaks. Throws DEADLINE_EXCEEDED after `timeoutMs`, the signal's reason if that ends
   * it, and what trying again cannot cure, such as NOT_FOUND.
   */
  async waitForProcess(processId: string, options: WaitOptions = {}): Promise<Process> {
    const [way, cut] = this.#way(options);
    const { timeoutMs } = options;
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => cut(late(processId, timeoutMs)), timeoutMs);
    try {
      return await done(this.processes, processId, way);
    } finally {
      clearTimeout(timer);
      cut();
    }
  }

  /** Ends its watches and waits; in Node its connection, too, with all calls on it. */
  close(): void {
    this.#closed.abort();
    this.#hangUp();
  }

  /** The way of one helper, which ends with the caller's signal, and how to end it. */
  #way({ signal, onRetry, heartbeatMs = HEARTBEAT_MS }: Resuming): [Way, (why?: unknown) => void] {
    const own = new AbortController();
    const cut = (why?: unknown) => own.abort(why);
    for (const outer of [this.#closed.signal, signal]) {
      if (outer?.aborted) cut(outer.reason);
      outer?.addEventListener("abort", () => cut(outer.reason), { signal: own.signal });
    }
    return [{ signal: own.signal, onRetry, heartbeatMs, hangUp: this.#hangUp }, cut];
  }
}
