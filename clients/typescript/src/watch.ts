/** The feed of events, over restarts and broken connections. */
import type { Client as Stub } from "@connectrpc/connect";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { resuming, retrying, type Resuming, type Way } from "./retry.js";
import {
  EventFilterSchema,
  StartAt,
  type Event,
  type EventService,
  type SubscriptionService,
  type WatchEventsRequestSchema,
  type WatchEventsResponse,
} from "./v1.js";

/** Which events to watch, and from where. */
export interface WatchOptions extends Resuming {
  /** Which events; all that the token may read by default. Not with `subscriptionId`. */
  filter?: MessageInitShape<typeof EventFilterSchema> | undefined;
  /** After a cursor, at a time, or at a named place. Default "latest". Not with `subscriptionId`. */
  start?: { after: string } | { time: Date } | "earliest" | "latest" | undefined;
  /** A subscription, whose filter and place the gateway keeps. See {@link Watch}. */
  subscriptionId?: string | undefined;
  /**
   * Called each time that the gateway begins to answer: from then on nothing new is
   * missed. The cursor is the place after its first message, whose events come yet.
   */
  onConnect?: ((cursor: string) => void) | undefined;
  /** Called with each place up to which all events are dealt with, by heartbeats too. */
  onCursor?: ((cursor: string) => void) | undefined;
}

/** One event, and the place just after it. */
export interface WatchedEvent {
  event: Event;
  /** Pass it as `start: { after: cursor }` to go on after this event. */
  cursor: string;
}

/** The services that a watch calls. */
export interface Feed {
  events: Stub<typeof EventService>;
  subscriptions: Stub<typeof SubscriptionService>;
}

/**
 * Events as they happen, to be read by one `for await`. It ends with `break`, with
 * `close()` and with the signal, and throws what trying again cannot cure, such as
 * OUT_OF_RANGE (ERROR_REASON_CURSOR_EXPIRED).
 *
 * Of a subscription, an event is acknowledged when the next one is asked for: the one
 * in hand when you leave comes again.
 */
export class Watch implements AsyncIterableIterator<WatchedEvent, void> {
  readonly #feed: Feed;
  readonly #options: WatchOptions;
  readonly #way: Way;
  readonly #close: () => void;
  readonly #items: AsyncGenerator<WatchedEvent, void>;
  #cursor: string | undefined;

  /** @internal See `Client.watch`. */
  constructor(feed: Feed, options: WatchOptions, way: Way, close: () => void) {
    const { start, filter, subscriptionId } = options;
    if (subscriptionId !== undefined && (start !== undefined || filter !== undefined)) {
      throw new TypeError("watch: a subscription has its own filter and start");
    }
    this.#feed = feed;
    this.#options = options;
    this.#way = way;
    this.#close = close;
    this.#cursor = typeof start === "object" && "after" in start ? start.after : undefined;
    this.#items = this.#read();
  }

  /** The place reached, to be saved; undefined until there is one. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** Ends it at once, also while an event is awaited. */
  close(): void {
    this.#close();
  }

  next(): Promise<IteratorResult<WatchedEvent, void>> {
    return this.#items.next();
  }

  return(): Promise<IteratorResult<WatchedEvent, void>> {
    this.#close();
    return this.#items.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async *#read(): AsyncGenerator<WatchedEvent, void> {
    try {
      for await (const batch of resuming((signal) => this.#open(signal), this.#way)) {
        yield* this.#deal(batch);
      }
    } finally {
      this.#close();
    }
  }

  async *#open(signal: AbortSignal): AsyncGenerator<WatchEventsResponse, void> {
    let isFirst = true;
    for await (const batch of this.#feed.events.watchEvents(this.#request(), { signal })) {
      if (isFirst) this.#options.onConnect?.(batch.cursor);
      isFirst = false;
      yield batch;
    }
  }

  async *#deal(batch: WatchEventsResponse): AsyncGenerator<WatchedEvent, void> {
    for (const event of batch.events) {
      this.#cursor = event.cursor;
      yield { event, cursor: event.cursor };
      if (this.#way.signal.aborted) return;
      await this.#acknowledge(event.cursor);
    }
    await this.#reach(batch.cursor);
  }

  /** All up to there is dealt with. */
  async #reach(cursor: string): Promise<void> {
    if (cursor !== this.#cursor) await this.#acknowledge(cursor);
    this.#cursor = cursor;
    this.#options.onCursor?.(cursor);
  }

  async #acknowledge(cursor: string): Promise<void> {
    const { subscriptionId } = this.#options;
    if (subscriptionId === undefined) return;
    const call = (signal: AbortSignal) =>
      this.#feed.subscriptions.acknowledgeEvents({ subscriptionId, cursor }, { signal });
    await retrying(call, this.#way);
  }

  /** What to ask for: to go on where it was left, or to start. */
  #request(): MessageInitShape<typeof WatchEventsRequestSchema> {
    const { filter } = this.#options;
    const heartbeatInterval = durationFromMs(this.#way.heartbeatMs);
    return { ...(filter && { filter }), heartbeatInterval, start: this.#start() };
  }

  #start(): NonNullable<MessageInitShape<typeof WatchEventsRequestSchema>["start"]> {
    const { start, subscriptionId } = this.#options;
    // A subscription goes on after what was acknowledged, which is all that was handed out.
    if (subscriptionId !== undefined) return { case: "subscriptionId", value: subscriptionId };
    if (this.#cursor !== undefined) return { case: "afterCursor", value: this.#cursor };
    if (typeof start === "object" && "time" in start) {
      return { case: "startTime", value: timestampFromDate(start.time) };
    }
    return { case: "startAt", value: start === "earliest" ? StartAt.EARLIEST : StartAt.LATEST };
  }
}
