/** Why a call failed, in one plain object. */
import { Code, ConnectError } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { advice } from "./advice.js";

/** The domain of the reasons in `ErrorReason`. */
const DOMAIN = "metagov.org";

/** Why a call failed, and what to do. */
export interface Failure {
  /** The name of the gRPC code, such as "NOT_FOUND". Branch on this first. */
  readonly code: string;
  /** A name of `ErrorReason`, such as "ERROR_REASON_PROCESS_NOT_FOUND"; "" if not of the gateway. */
  readonly reason: string;
  /** For people. May change at any time. */
  readonly message: string;
  /** What is wrong with which field: "parameters/low" → "is not of type integer". */
  readonly fields: Readonly<Record<string, string>>;
  /** The keys that `ErrorReason` names for the reason, such as earliest_cursor. */
  readonly metadata: Readonly<Record<string, string>>;
  /** After how many milliseconds to try again; undefined if the gateway does not say. */
  readonly retryDelayMs: number | undefined;
  /** One sentence for people: what to do about it. */
  readonly advice: string;
}

/** Reads whatever was thrown. Never throws itself. */
export function failure(thrown: unknown): Failure {
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema).find((info) => info.domain === DOMAIN);
  const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const known = {
    code: codeName(error.code),
    reason: info?.reason ?? "",
    message: error.rawMessage,
    fields: fields(error),
    metadata: { ...info?.metadata },
    retryDelayMs: retry && durationMs(retry),
  };
  return { ...known, advice: advice(known, causes(thrown)) };
}

/** As gRPC spells it, which is not always as Connect does. */
function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

function fields(error: ConnectError): Record<string, string> {
  const all: Record<string, string> = {};
  for (const { field, description } of error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations)) {
    all[field] = field in all ? `${all[field]}; ${description}` : description;
  }
  return all;
}

/** What was thrown, what caused that, and so on. */
export function causes(thrown: unknown): Error[] {
  const chain: Error[] = [];
  for (let next = thrown; next instanceof Error && !chain.includes(next); next = next.cause) {
    chain.push(next);
  }
  return chain;
}
