"""The checker sees what is wrong with a history; without a server."""

import base64
import struct

from proof.checker import Checker
from proof.dump import Dump

READER = {"communities": ["garden"]}


def cursor(position: int) -> str:
    raw = bytes(9) + struct.pack(">q", position) + bytes(12)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def log(*rows: tuple[str, bool]) -> Dump:
    """A log of events of these communities, each with whether it ends its change."""
    return Dump({
        "event": [
            {"position": at, "event_id": f"e{at}", "community_id": community, "ends": ends,
             "payload": '{"platform": {"event_type": "discourse.post_created", "data": {"id": %d}}}' % at}
            for at, (community, ends) in enumerate(rows, 1)
        ]
    })


GARDEN = ("garden", True)
FIELD = ("field", True)


def got(upto: int, *events: int, wanted=READER) -> dict:
    return {"phase": "got", "call": "watch", "stream": "s", "wanted": wanted, "cursor": cursor(upto),
            "events": [f"e{at}" for at in events]}


def resumed() -> dict:
    return {"phase": "intent", "call": "watch", "stream": "s", "after": "some"}


def violated(lines: list[dict], dump: Dump) -> set[str]:
    return {f.property for f in Checker().check(lines, dump) if f.violated}


def hook(phase: str, number: int) -> dict:
    return {"phase": phase, "call": "hook", "number": number, "sha256": f"hash{number}"}


def start(phase: str, request: str, answer: str = "") -> dict:
    return {"phase": phase, "call": "start", "request": request, "answer": answer}


def test_a_good_history_is_good():
    dump = log(GARDEN, FIELD, GARDEN, GARDEN)
    lines = [got(1, 1), got(2), resumed(), got(4, 3, 4)]
    assert violated(lines, dump) == set()


def test_a_hole_is_seen():
    assert "R5" in violated([got(3, 1, 3)], log(GARDEN, GARDEN, GARDEN))


def test_a_hole_behind_a_bookmark_is_seen():
    assert "R5" in violated([got(2, 1), got(3, 3)], log(GARDEN, GARDEN, GARDEN))


def test_what_was_not_asked_for_is_seen():
    assert "R5" in violated([got(2, 1, 2)], log(GARDEN, FIELD))


def test_a_repeat_across_a_resume_is_seen():
    found = violated([got(1, 1), resumed(), got(2, 1, 2)], log(GARDEN, GARDEN))
    assert {"R4", "R6", "R9"} <= found


def test_disorder_is_seen():
    assert "R4" in violated([got(2, 2, 1)], log(GARDEN, GARDEN))


def test_a_false_bookmark_is_seen():
    assert "R8" in violated([got(2), got(3, 2, 3)], log(FIELD, GARDEN, GARDEN))


def test_half_a_change_is_seen():
    dump = log(("garden", False), GARDEN)
    assert "R7" in violated([got(1, 1), got(2, 2)], dump)
    assert violated([got(2, 1, 2)], dump) == set()


def test_a_hole_in_the_log_is_seen():
    dump = log(GARDEN, GARDEN, GARDEN)
    del dump.tables["event"][1]
    assert "R5" in violated([], dump)


def test_a_stream_that_does_not_get_to_the_end_is_seen():
    dump = log(GARDEN, FIELD)
    found = Checker().finish([got(1, 1)], dump)
    assert any(f.property == "R8" and f.violated for f in found)


def test_a_stream_that_never_says_anything_is_seen():
    asked = {"phase": "intent", "call": "watch", "stream": "s", "wanted": READER, "after": ""}
    found = Checker().finish([asked], log(GARDEN))
    assert any(f.property == "R8" and f.violated for f in found)


def test_an_acknowledged_hook_that_is_gone_is_seen():
    lines = [hook("intent", 7), hook("ack", 7)]
    assert "R1" in violated(lines, log(GARDEN))
    waiting = {"state": "pending", "repeat_key": "body:hash7"}
    dump = log(GARDEN)
    dump.tables["delivery"] = [waiting]
    assert violated(lines, dump) == set()


def test_a_hook_without_an_answer_may_be_gone():
    assert violated([hook("intent", 7)], log(GARDEN)) == set()


def test_a_delivery_that_is_there_twice_is_seen():
    dump = log(GARDEN, GARDEN)
    dump.tables["event"][1]["payload"] = dump.tables["event"][0]["payload"]
    assert "R3" in violated([hook("intent", 1), hook("ack", 1)], dump)


def test_two_answers_to_one_request_are_seen():
    dump = Dump({"process": [{"title": "r", "id": "p1"}]})
    good = [start("intent", "r"), start("ack", "r", "p1"), start("intent", "r"), start("ack", "r", "p1")]
    assert violated(good, dump) == set()
    assert "R15" in violated([*good, start("ack", "r", "p2")], dump)
    dump.tables["process"].append({"title": "r", "id": "p2"})
    assert "R15" in violated(good, dump)


def test_another_body_under_the_same_id_is_seen():
    taken = {"phase": "ack", "call": "reuse", "request": "r"}
    assert "R15" in violated([taken], Dump())
