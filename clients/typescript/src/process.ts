/** Waiting for a process to be decided. */
import { Code, ConnectError, type Client as Stub } from "@connectrpc/connect";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { resuming, type Resuming, type Way } from "./retry.js";
import { ProcessState, type Process, type ProcessService } from "./v1.js";

/** How long to wait for a process. */
export interface WaitOptions extends Resuming {
  /** After so long it is DEADLINE_EXCEEDED, whatever becomes of the process. Default: never. */
  timeoutMs?: number | undefined;
}

const DONE = [ProcessState.COMPLETED, ProcessState.CANCELLED, ProcessState.FAILED];

/** The process once it is done, over restarts and broken connections. */
export async function done(processes: Stub<typeof ProcessService>, processId: string, way: Way): Promise<Process> {
  const request = { processId, heartbeatInterval: durationFromMs(way.heartbeatMs) };
  const open = (signal: AbortSignal) => processes.watchProcess(request, { signal });
  for await (const { process } of resuming(open, way)) {
    if (process && DONE.includes(process.state)) return process;
  }
  throw way.signal.reason;
}

/** Why it was waited no longer. */
export function late(processId: string, timeoutMs: number): ConnectError {
  return new ConnectError(`process ${processId} is not done after ${timeoutMs / 1000} s`, Code.DeadlineExceeded);
}
