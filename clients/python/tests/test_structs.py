"""JSON ⇄ Struct."""

import math
from typing import Any

import metagov
import pytest


@pytest.mark.parametrize(
    "value", [{}, {"a": 3}, {"a": [1, -2.5, None, True, "x", {"b": []}]}, {"a": 2**53}]
)
def test_there_and_back(value: dict[str, object]) -> None:
    back = metagov.from_struct(metagov.to_struct(value))
    assert back == value and repr(back) == repr(value)


def test_whole_doubles_come_back_as_integers() -> None:
    assert repr(metagov.from_struct(metagov.to_struct({"a": 3.0}))) == "{'a': 3}"
    # A double of this size is no longer exact, so it is not passed off as an integer.
    assert repr(metagov.from_value(metagov.to_value(1e300))) == "1e+300"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [2**53 + 1]}, "a/0: is larger than 2^53; send it as a string"),
        ({"a": {"b": math.nan}}, "a/b: is no finite number"),
        ({"a": -math.inf}, "a: is no finite number"),
        ({"a": {1: 2}}, "a: the key 1 is no string"),
        ({"a": b"bytes"}, "a: bytes is nothing of JSON"),
    ],
)
def test_what_has_no_place_is_named(value: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=": ") as refused:
        metagov.to_struct(value)
    assert str(refused.value) == says
