"""Single calls: what they carry, and what their errors say."""

import json

LARGEST = 2**53


def test_call(crowd):
    """A call answers"""

    def get(client):
        said = client.start("get-community", "garden").end()
        assert said == [{"community_id": "garden", "display_name": ""}]

    crowd.each(get)


def test_whole_numbers(crowd):
    """Whole numbers stay whole through an action, up to 2^53"""
    parameters = json.dumps({"low": LARGEST - 2, "high": LARGEST - 1})

    def perform(client):
        program = client.start("perform", "garden", "randomness.random-int", parameters)
        assert program.end() == [{"result": {"value": LARGEST - 2}}]
        assert "." not in program.lines[0]

    crowd.each(perform)


def test_struct(crowd):
    """JSON → Struct → JSON changes nothing"""
    given = {
        "whole": 3, "negative": -LARGEST, "largest": LARGEST, "half": 0.5, "zero": 0,
        "text": "dört", "yes": True, "nothing": None, "empty": {}, "list": [1, [2, {"a": []}], ""],
    }  # fmt: skip

    def there_and_back(client):
        program = client.start("struct", json.dumps(given))
        assert program.end() == [{"struct": given}]
        # 3 and 3.0 are equal here, but not for whoever reads the line.
        assert json.loads(program.lines[0], parse_float=str)["struct"] == given | {"half": "0.5"}

    crowd.each(there_and_back)


def test_struct_refuses(crowd):
    """Integers beyond 2^53 are refused, and how to send them is said"""

    def refuse(client):
        for number in (LARGEST + 1, -LARGEST - 1, 10**25):
            error = client.start("struct", json.dumps({"a": [number]})).error()
            assert error["code"] == "INVALID_ARGUMENT", error
            assert "string" in error["message"], error

    crowd.each(refuse)


def test_not_finite(crowd):
    """A number that is not finite is refused"""

    def refuse(client):
        for number in ("1e999", "-1e999"):
            error = client.start("struct", f'{{"a": {number}}}').error()
            assert error["code"] == "INVALID_ARGUMENT", error

    crowd.each(refuse)


def test_schema_mismatch(crowd):
    """What does not fit a schema is named, field by field"""

    def perform(client):
        parameters = json.dumps({"low": "three", "hihg": 4})
        error = client.start("perform", "garden", "randomness.random-int", parameters).error()
        assert error["code"] == "INVALID_ARGUMENT", error
        assert error["reason"] == "ERROR_REASON_SCHEMA_MISMATCH", error
        assert set(error["fields"]) == {"parameters/low", "parameters/hihg"}, error
        assert "misspelt" in error["fields"]["parameters/hihg"], error
        assert error["retry_delay"] is None, error

    crowd.each(perform)


def test_not_found(crowd):
    """An error has its reason and its metadata"""

    def get(client):
        error = client.start("get-community", "nowhere").error()
        assert error["code"] == "NOT_FOUND", error
        assert error["reason"] == "ERROR_REASON_COMMUNITY_NOT_FOUND", error
        assert error["metadata"] == {"community_id": "nowhere"}, error
        assert error["message"], error

    crowd.each(get)
