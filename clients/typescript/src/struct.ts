/**
 * Values of JavaScript ⇄ `google.protobuf.Struct` and `Value`.
 *
 * A field of type Struct is a plain `JsonObject` in this language. Its numbers are
 * doubles on the way, exact for whole numbers up to 2^53; what would change silently
 * (larger ones, NaN, the infinities) is refused here.
 */
import { fromJson, toJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

/** The largest double up to which every whole number has a double of its own. */
const LARGEST = 2 ** 53;

/**
 * What a field of type Struct takes, from any object that JSON can say.
 *
 * A bigint becomes a number. Entries that are undefined are left out. Throws a
 * ConnectError INVALID_ARGUMENT that names the place, such as `amounts/0`, for what
 * JSON cannot say and for whole numbers beyond 2^53: send those as strings.
 */
export function toStruct(fields: object): JsonObject {
  const json = said(fields, []);
  if (!isObject(json)) throw wrong([], "is no object");
  return json;
}

/** The same for a field of type Value, which may be any JSON, not only an object. */
export function toValue(value: unknown): Value {
  return fromJson(ValueSchema, said(value, []));
}

/** A plain object of its own; `{}` for a field that is unset. Whole numbers are whole: 3. */
export function fromStruct(fields: JsonObject | undefined): JsonObject {
  return structuredClone(fields ?? {});
}

/** The JSON of a Value; null for one that is unset. */
export function fromValue(value: Value | undefined): JsonValue {
  return value?.kind.case === undefined ? null : toJson(ValueSchema, value);
}

type Place = readonly (string | number)[];

function said(value: unknown, at: Place): JsonValue {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "bigint") return number(value, at);
  if (Array.isArray(value)) return value.map((item, index) => said(item, [...at, index]));
  if (!isObject(value)) throw wrong(at, "is nothing that JSON can say");
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.map(([key, item]) => [key, said(item, [...at, key])]));
}

function number(value: number | bigint, at: Place): number {
  const isWhole = typeof value === "bigint" || Number.isInteger(value);
  if (isWhole && (value > LARGEST || value < -LARGEST)) {
    throw wrong(at, "is a whole number beyond 2^53, which would not arrive as it is; send it as a string");
  }
  if (!Number.isFinite(Number(value))) throw wrong(at, "is no finite number");
  return Number(value);
}

/** Whether it is made of entries alone: a Date or a Map would lose what it is. */
function isObject(value: unknown): value is JsonObject {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function wrong(at: Place, why: string): ConnectError {
  return new ConnectError(`${at.join("/") || "the value"} ${why}`, Code.InvalidArgument);
}
