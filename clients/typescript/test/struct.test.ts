import assert from "node:assert/strict";
import { test } from "node:test";
import { fromStruct, fromValue, toStruct, toValue } from "metagov";

test("what JSON can say goes there and back", () => {
  const fields = { whole: 3, half: 1.5, negative: -(2 ** 53), text: "a", nothing: null, list: [true, {}, []] };
  assert.deepEqual(fromStruct(toStruct(fields)), fields);
  assert.deepEqual(fromValue(toValue(fields)), fields);
  assert.deepEqual(fromStruct(undefined), {});
  assert.equal(fromValue(undefined), null);
});

test("a bigint is a number, and what is undefined is left out", () => {
  assert.deepEqual(toStruct({ id: 2n ** 53n, none: undefined }), { id: 2 ** 53 });
});

test("what would change on the way is refused by its place", () => {
  assert.throws(() => toStruct({ amounts: [1, 2n ** 53n + 1n] }), /amounts\/1 .*send it as a string/);
  assert.throws(() => toStruct({ amount: -1e25 }), /amount .*send it as a string/);
  for (const value of [NaN, Infinity, new Date(), new Map(), () => 1, Symbol("a")]) {
    assert.throws(() => toStruct({ deep: { value } }), /deep\/value is no/);
  }
  assert.throws(() => toStruct([1]), /the value is no object/);
});
