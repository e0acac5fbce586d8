/** The HTTP/2 connection, and what an answer's head or end must be spared. */
import type { IncomingHttpHeaders } from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { decodeBinaryHeader } from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const DETAILS = "grpc-status-details-bin";

/** A connection on which an error whose details are damaged is an error all the same. */
export class Session extends Http2SessionManager {
  override async request(...call: Parameters<Http2SessionManager["request"]>) {
    const stream = await super.request(...call);
    // Before anybody else listens.
    stream.on("response", dropDamaged);
    stream.on("trailers", dropDamaged);
    return stream;
  }
}

/** Connect would take what it cannot read for the whole error: the code is beside it. */
function dropDamaged(headers: IncomingHttpHeaders): void {
  const details = headers[DETAILS];
  if (details !== undefined && !isReadable(String(details), Number(headers["grpc-status"]))) {
    delete headers[DETAILS];
  }
}

function isReadable(details: string, code: number): boolean {
  try {
    return fromBinary(StatusSchema, decodeBinaryHeader(details)).code === code;
  } catch {
    return false;
  }
}
