import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { failure } from "metagov";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";

test("an error's details are in one plain object", () => {
  const value = { reason: "ERROR_REASON_RATE_LIMITED", domain: "metagov.org", metadata: { limit: "3" } };
  const violations = ["one", "two"].map((description) => ({ field: "name", description }));
  const error = new ConnectError("too fast", Code.ResourceExhausted, undefined, [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, value) },
    { desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations: violations }) },
    { desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay: durationFromMs(1500) }) },
  ]);
  const { advice, ...rest } = failure(error);
  assert.deepEqual(rest, {
    code: "RESOURCE_EXHAUSTED",
    reason: "ERROR_REASON_RATE_LIMITED",
    message: "too fast",
    fields: { name: "one; two" },
    metadata: { limit: "3" },
    retryDelayMs: 1500,
  });
  assert.match(advice, /retry delay/);
});

test("codes are spelled as gRPC does", () => {
  assert.equal(failure(new ConnectError("", Code.Canceled)).code, "CANCELLED");
  assert.equal(failure(new ConnectError("", Code.DeadlineExceeded)).code, "DEADLINE_EXCEEDED");
});

test("whatever is thrown is read", () => {
  assert.equal(failure(new TypeError("no")).message, "no");
  assert.equal(failure("no").code, "UNKNOWN");
  assert.equal(failure(undefined).reason, "");
});

test("advice names what to look at", () => {
  const caused = (code: string) =>
    new ConnectError("", Code.Internal, undefined, undefined, Object.assign(new Error(), { code }));
  assert.match(failure(caused("DEPTH_ZERO_SELF_SIGNED_CERT")).advice, /METAGOV_CA/);
  assert.match(failure(caused("CERT_HAS_EXPIRED")).advice, /clock/);
  assert.match(failure(new ConnectError("HTTP 415", Code.Unknown)).advice, /not a Metagov gRPC address/);
  assert.match(failure(new ConnectError("", Code.Unavailable)).advice, /METAGOV_ENDPOINT/);
  assert.match(failure(new ConnectError("", Code.Unauthenticated)).advice, /METAGOV_TOKEN/);
  const fetched = new ConnectError("", Code.Unknown, undefined, undefined, new TypeError("Failed to fetch"));
  assert.match(failure(fetched).advice, /METAGOV_CORS_ORIGINS/);
});
