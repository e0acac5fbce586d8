import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { connect } from "metagov";
import { endpoint as checked } from "../src/endpoint.js";

const NAMES = {
  endpoint: "METAGOV_ENDPOINT",
  token: "METAGOV_TOKEN",
  insecurePlaintext: "METAGOV_INSECURE_PLAINTEXT=true",
};
const endpoint = (address: string, token?: string, insecure = false) => checked(address, token, insecure, NAMES);

test("an endpoint is scheme, host and port", () => {
  for (const address of ["http://127.0.0.1:50051", "https://gateway.example.org", "http://[::1]:50051/"]) {
    assert.equal(endpoint(address).url, address.replace(/\/$/, ""));
  }
});

test("what is no endpoint is refused with an example", () => {
  const why = /METAGOV_ENDPOINT: is no address such as http:\/\/127\.0\.0\.1:50051/;
  const bare = ["", "127.0.0.1:50051", "localhost:50051", "http://"];
  for (const address of [...bare, "ftp://a", "http://a@b", "http://a/b", "http://a?b"]) {
    assert.throws(() => endpoint(address), why, address);
  }
});

test("a token goes in plaintext to this machine only", () => {
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"]) {
    assert.equal(endpoint(`http://${host}:1`, "secret").interceptors.length, 1, host);
  }
  for (const host of ["example.org", "127.example.org", "localhost.example.org", "10.0.0.1", "[::2]"]) {
    assert.throws(() => endpoint(`http://${host}:1`, "secret"), /METAGOV_INSECURE_PLAINTEXT/, host);
  }
  assert.equal(endpoint("https://example.org", "secret").interceptors.length, 1);
  assert.equal(endpoint("http://example.org", "secret", true).interceptors.length, 1);
  assert.equal(endpoint("http://example.org").interceptors.length, 0);
});

test("a token is never shown", () => {
  assert.throws(() => endpoint("http://localhost", "se\ncret"), (error) => !inspect(error).includes("cret"));
  const client = connect({ endpoint: "http://localhost:1", token: "secret" });
  assert.doesNotMatch(inspect(client, { depth: null, showHidden: true }), /secret/);
  assert.doesNotMatch(JSON.stringify(client), /secret/);
});
