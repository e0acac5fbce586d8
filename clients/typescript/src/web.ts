/** The client for browsers: grpc-web over fetch. In Node use `metagov`. */
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { Client } from "./client.js";
import { DEFAULT_ENDPOINT, endpoint } from "./endpoint.js";

export * from "./helpers.js";

/** Where to connect and as whom. */
export interface ConnectOptions {
  /** http:// for plaintext, https:// for TLS. Default http://127.0.0.1:50051. */
  endpoint?: string | undefined;
  /** Sent with every call. Default: calls go without. */
  token?: string | undefined;
  /** Sends the token over http to other machines, too. Default false. */
  insecurePlaintext?: boolean | undefined;
}

const NAMES = { endpoint: "endpoint", token: "token", insecurePlaintext: "insecurePlaintext" };

/**
 * A client of the gateway at `endpoint`, which must allow this page's origin
 * (METAGOV_CORS_ORIGINS). Nothing is sent before the first call.
 *
 * Throws ConnectError INVALID_ARGUMENT, naming the option, for an endpoint that is no
 * address, and for a token that could be overheard.
 */
export function connect(options: ConnectOptions = {}): Client {
  const address = options.endpoint ?? DEFAULT_ENDPOINT;
  const { url, interceptors } = endpoint(address, options.token, options.insecurePlaintext ?? false, NAMES);
  // The browser keeps the connections, and gives up one whose call is cut.
  return new Client(createGrpcWebTransport({ baseUrl: url, interceptors }), () => undefined);
}
