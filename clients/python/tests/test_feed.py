"""What a watch asks for and hands out."""

import pytest
from metagov.errors import Fault
from metagov.feed import Feed, Start
from metagov.retry import Backoff, may_pass
from metagov.v1 import event_pb2


def response(*names: str, cursor: str) -> event_pb2.WatchEventsResponse:
    """A message with events of these names."""
    events = [event_pb2.Event(event_id=name, cursor=f"at-{name}") for name in names]
    return event_pb2.WatchEventsResponse(events=events, cursor=cursor)


def test_places() -> None:
    told: list[str] = []
    feed = Feed(None, Start(), 15.0, told.append)
    assert feed.request().start_at == event_pb2.START_AT_LATEST
    feed.take(response(cursor="zero"))
    assert (feed.cursor, told) == ("zero", ["zero"])
    feed.take(response("a", "b", cursor="two"))
    assert feed.cursor == "zero"
    first = feed.next()
    assert first is not None and first.event_id == "a" and feed.cursor == "at-a"
    assert feed.next() is not None and feed.next() is None
    assert (feed.cursor, told) == ("two", ["zero", "two"])
    assert feed.request().after_cursor == "two"


def test_a_subscription_acknowledges_before_it_goes_on() -> None:
    feed = Feed(None, Start(subscription="mine"), 15.0)
    feed.take(response("a", cursor="one"))
    assert not feed.unacknowledged
    feed.next()
    assert [feed.unacknowledged] == ["at-a"]
    assert feed.request().subscription_id == "mine"


def test_one_start_only() -> None:
    with pytest.raises(ValueError, match="give one of"):
        Start(after="a", earliest=True)
    with pytest.raises(ValueError, match="filter of its own"):
        Feed(event_pb2.EventFilter(), Start(subscription="mine"), 15.0)


def test_backoff() -> None:
    backoff, lost = Backoff(), Fault("UNAVAILABLE", "")
    for longest in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10):
        assert longest / 2 <= backoff.next(lost) <= longest
    backoff.reset()
    assert backoff.next(lost) <= 0.1
    assert backoff.next(Fault("UNAVAILABLE", "", retry_delay=3.0)) == 3.0


@pytest.mark.parametrize(
    ("code", "reason", "message", "passes"),
    [
        ("UNAVAILABLE", "", "", True),
        ("UNAVAILABLE", "ERROR_REASON_DRAINING", "", True),
        ("INTERNAL", "", "", True),
        ("INTERNAL", "ERROR_REASON_INTERNAL", "", False),
        ("RESOURCE_EXHAUSTED", "ERROR_REASON_MESSAGE_TOO_LARGE", "", False),
        ("UNAUTHENTICATED", "ERROR_REASON_TOKEN_INVALID", "", False),
        ("UNIMPLEMENTED", "", "", False),
        ("UNAVAILABLE", "", "handshake failed: CERTIFICATE_VERIFY_FAILED", False),
    ],
)
def test_what_is_tried_again(code: str, reason: str, message: str, passes: bool) -> None:
    assert may_pass(Fault(code, message, reason)) is passes
