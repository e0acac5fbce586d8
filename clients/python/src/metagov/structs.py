"""JSON-like values ⇄ google.protobuf.Struct, with whole numbers that stay whole.

A Struct has doubles only. Whole ones up to 2^53, where a double is still exact, come back as
`int`; larger integers are refused, since they would be changed: send those as strings.
"""

import math
from collections.abc import Mapping, Sequence

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

# Up to here every whole number is a double.
LARGEST = 2**53


def to_struct(fields: Mapping[str, object]) -> Struct:
    """Makes a Struct of a mapping.

    ValueError names what has no place in one, by its path: an integer beyond 2^53, NaN,
    infinity, a key that is no string, or a value that is not JSON-like.
    """
    return _struct(fields, "")


def from_struct(struct: Struct) -> dict[str, Json]:
    """Makes a dict of a Struct; whole numbers are `int`."""
    return {key: from_value(value) for key, value in struct.fields.items()}


def to_value(value: object) -> Value:
    """Makes a Value of anything JSON-like, as `to_struct` does."""
    return _value(value, "")


def from_value(value: Value) -> Json:
    """Makes a JSON-like value of a Value, such as an action's result."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [from_value(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            whole = number.is_integer() and abs(number) <= LARGEST
            return int(number) if whole else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _struct(fields: Mapping[str, object], path: str) -> Struct:
    for key in fields:
        if not isinstance(key, str):
            raise ValueError(f"{path or 'a struct'}: the key {key!r} is no string")
    return Struct(fields={k: _value(v, f"{path}/{k}" if path else k) for k, v in fields.items()})


def _value(value: object, path: str) -> Value:
    match value:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=_number(value, path))
        case str():
            return Value(string_value=value)
        case Mapping():
            return Value(struct_value=_struct(value, path))
        case Sequence() if not isinstance(value, bytes | bytearray):
            items = [_value(item, f"{path}/{place}") for place, item in enumerate(value)]
            return Value(list_value=ListValue(values=items))
        case _:
            raise ValueError(f"{path or 'the value'}: {type(value).__name__} is nothing of JSON")


def _number(value: int | float, path: str) -> float:
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"{path or 'the value'}: is larger than 2^53; send it as a string")
    if not math.isfinite(value):
        raise ValueError(f"{path or 'the value'}: is no finite number")
    return float(value)
