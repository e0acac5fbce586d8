/** The client for Node: gRPC over HTTP/2. In a browser use `metagov/web`. */
import { readFileSync } from "node:fs";
import { env } from "node:process";
import { Code, ConnectError } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Client } from "./client.js";
import { DEFAULT_ENDPOINT, endpoint } from "./endpoint.js";
import { Session } from "./session.js";

export * from "./helpers.js";

/** Where to connect and as whom. What is left out is taken from the environment. */
export interface ConnectOptions {
  /** METAGOV_ENDPOINT: http:// for plaintext, https:// for TLS. Default http://127.0.0.1:50051. */
  endpoint?: string | undefined;
  /** METAGOV_TOKEN: sent with every call. Default: calls go without. */
  token?: string | undefined;
  /** METAGOV_CA: a PEM file of who vouches for the gateway's certificate. Default: whom Node trusts. */
  ca?: string | undefined;
  /** METAGOV_INSECURE_PLAINTEXT: sends the token over http to other machines, too. Default false. */
  insecurePlaintext?: boolean | undefined;
}

const NAMES = {
  endpoint: "METAGOV_ENDPOINT",
  token: "METAGOV_TOKEN",
  insecurePlaintext: "METAGOV_INSECURE_PLAINTEXT=true",
};

/** The largest message taken, in bytes. */
const READ_MAX_BYTES = 64 * 1024 * 1024;

/**
 * A client of the gateway at `endpoint`. Nothing is sent before the first call, and no
 * proxy of the environment is used.
 *
 * Throws ConnectError INVALID_ARGUMENT, naming the setting, for an endpoint that is no
 * address, a CA file that cannot be read, and a token that could be overheard.
 */
export function connect(options: ConnectOptions = {}): Client {
  const address = options.endpoint ?? (env.METAGOV_ENDPOINT || DEFAULT_ENDPOINT);
  const insecure = options.insecurePlaintext ?? env.METAGOV_INSECURE_PLAINTEXT === "true";
  const { url, interceptors } = endpoint(address, options.token ?? env.METAGOV_TOKEN, insecure, NAMES);
  const ca = authorities(options.ca ?? env.METAGOV_CA);
  const session = new Session(url, undefined, ca === undefined ? {} : { ca });
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager: session,
    interceptors,
    readMaxBytes: READ_MAX_BYTES,
  });
  return new Client(transport, () => session.abort());
}

/** Who vouches for certificates, if it is said. */
function authorities(file: string | undefined): string | undefined {
  if (!file) return undefined;
  let why = "there is no certificate in it, as PEM";
  try {
    const text = readFileSync(file, "utf8");
    if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  throw new ConnectError(`METAGOV_CA: ${file}: ${why}`, Code.InvalidArgument);
}
