/** What both entry points share. */
export { Client } from "./client.js";
export { failure, type Failure } from "./failure.js";
export type { WaitOptions } from "./process.js";
export type { Resuming } from "./retry.js";
export { fromStruct, fromValue, toStruct, toValue } from "./struct.js";
export { Watch, type Feed, type WatchedEvent, type WatchOptions } from "./watch.js";
