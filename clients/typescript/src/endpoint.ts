/** Where a gateway is, and whether a token may be sent there. */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

export const DEFAULT_ENDPOINT = "http://127.0.0.1:50051";

/** How the settings are called where they are given, for errors that name one. */
export interface Names {
  endpoint: string;
  token: string;
  insecurePlaintext: string;
}

/** What every call needs, checked. */
export interface Endpoint {
  /** Scheme, host and port, without a slash at the end. */
  readonly url: string;
  /** Puts the token on each call, if there is one. It is kept nowhere else. */
  readonly interceptors: Interceptor[];
}

/** Checks where to call and with which token, before anything is sent. */
export function endpoint(
  address: string,
  token: string | undefined,
  insecurePlaintext: boolean,
  names: Names,
): Endpoint {
  const url = parsed(address, names.endpoint);
  const bearer = token?.trim();
  if (!bearer) return { url: url.origin, interceptors: [] };
  // What is no header's value would be repeated in the error of whoever sends it.
  if (!/^[\x21-\x7e]+$/.test(bearer)) {
    throw refused(Code.InvalidArgument, `${names.token}: has characters that no token has`);
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname) && !insecurePlaintext) {
    const why =
      `the token is not sent to ${url.origin}: it could be read on the way; ` +
      `use https://, or a tunnel, or set ${names.insecurePlaintext}`;
    throw refused(Code.InvalidArgument, why);
  }
  return { url: url.origin, interceptors: [bearing(bearer)] };
}

function parsed(address: string, name: string): URL {
  const isWhole = /^https?:\/\/[^/@?#\s]+\/?$/i.test(address) && URL.canParse(address);
  if (!isWhole) {
    throw refused(Code.InvalidArgument, `${name}: is no address such as ${DEFAULT_ENDPOINT}`);
  }
  return new URL(address);
}

/** Whether it is this machine. The URL has brought addresses into one form. */
function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\]|\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\])$/i.test(host);
}

function bearing(token: string): Interceptor {
  return (next) => (call) => {
    call.header.set("authorization", `Bearer ${token}`);
    return next(call);
  };
}

function refused(code: Code, why: string): ConnectError {
  return new ConnectError(why, code);
}
