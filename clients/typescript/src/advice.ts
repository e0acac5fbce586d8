/** What to do about a failure, for people. */
import type { Failure } from "./failure.js";

type Known = Omit<Failure, "advice">;

const GONE_ON = "go on from metadata earliest_cursor, and know that some were missed";

/** What the gateway's own reasons call for, where it is more than their code does. */
const BY_REASON: Record<string, string> = {
  ERROR_REASON_CURSOR_EXPIRED: `the events after the cursor are gone; ${GONE_ON}`,
  ERROR_REASON_CURSOR_FOREIGN: `the cursor is of another gateway, or of before a restore; ${GONE_ON}`,
  ERROR_REASON_CURSOR_AHEAD: "the cursor is of another gateway, or of before a restore; start anew without it",
  ERROR_REASON_OUTCOME_UNKNOWN: "the platform may have done it: look there before you try again",
  ERROR_REASON_ORIGIN_NOT_ALLOWED: "have the operator add the page's origin to METAGOV_CORS_ORIGINS",
  ERROR_REASON_HOST_NOT_ALLOWED: "have the operator add this host to METAGOV_HOSTS",
  ERROR_REASON_PLUGIN_NOT_ENABLED: "enable the plugin for the community first",
  ERROR_REASON_MESSAGE_TOO_LARGE: "send or ask for less at once",
  ERROR_REASON_SUBSCRIPTIONS_EXHAUSTED: "delete a subscription that is no longer used",
  ERROR_REASON_ETAG_MISMATCH: "somebody changed it first: read it again, then retry",
};

const BY_CODE: Record<string, string> = {
  CANCELLED: "it was cancelled on this side, or by what is between; try again if that was not meant",
  INVALID_ARGUMENT: "mend what `fields` or the message names",
  DEADLINE_EXCEEDED: "allow it more time, or ask again; what it was to change may still happen",
  NOT_FOUND: "check the id, and whether the token may read it",
  ALREADY_EXISTS: "use the one that is there, or choose another id",
  PERMISSION_DENIED: "use a token with a larger role, or one for this community",
  RESOURCE_EXHAUSTED: "wait for the retry delay, then call again",
  FAILED_PRECONDITION: "put right what the message names, then call again",
  ABORTED: "read the newest state, then call again",
  OUT_OF_RANGE: "start at a later place",
  UNAVAILABLE: "wait for the retry delay, then call again",
  INTERNAL: "tell the operator the message and metadata request_id: the gateway's log has more",
  UNAUTHENTICATED: "give a valid token as METAGOV_TOKEN; an admin makes one with `metagov token create`",
};

const TLS =
  "does METAGOV_ENDPOINT begin with https:// exactly when the gateway does TLS? " +
  "who vouches for its certificate can be given as METAGOV_CA";
const CLOCK = "the certificate is not valid at this machine's time: is the clock right? else it needs to be renewed";
const BROKE =
  "the connection broke: is the gateway running, and does METAGOV_ENDPOINT begin with https:// " +
  "exactly when it does TLS?";
const UNREACHED = "is the gateway running, and is METAGOV_ENDPOINT right?";
const WRONG_PORT = "METAGOV_ENDPOINT is not a Metagov gRPC address";
const IN_BROWSER =
  "is the gateway running, is the endpoint right, is its certificate trusted by this browser, " +
  "and is this page's origin in the gateway's METAGOV_CORS_ORIGINS?";

/** What to do, given what is known and the errors behind it, outermost first. */
export function advice(known: Known, causes: readonly Error[]): string {
  const code = BY_CODE[known.code] ?? "";
  if (known.reason) return BY_REASON[known.reason] ?? code;
  return ofTheLine(known, causes) ?? code;
}

/** Whether TLS failed, in a way that does not pass by itself. */
export function isTlsFault(causes: readonly Error[]): boolean {
  const names = causes.map(nodeCode);
  return names.some((name) => /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_)/.test(name));
}

/** What the way to the gateway has to say, when no gateway does. */
function ofTheLine({ code, message }: Known, causes: readonly Error[]): string | undefined {
  if (causes.some((cause) => /^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/.test(nodeCode(cause)))) return CLOCK;
  if (isTlsFault(causes)) return TLS;
  // What fetch throws for all that it does not tell a page, CORS among it.
  if (causes.slice(1).some((cause) => cause instanceof TypeError)) return IN_BROWSER;
  if (code === "UNIMPLEMENTED" || /^(HTTP \d+|unsupported content type)/.test(message)) return WRONG_PORT;
  if (code === "UNAVAILABLE") return UNREACHED;
  const isBroken = causes.some((cause) => /^(ECONNRESET|EPIPE|ERR_HTTP2_|ERR_STREAM_)/.test(nodeCode(cause)));
  return isBroken || message.startsWith("http/2 ") ? BROKE : undefined;
}

function nodeCode(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}
