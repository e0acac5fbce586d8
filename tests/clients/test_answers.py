"""Answers that the real gateway gives seldom, if ever: a fake one gives them."""

import time

from grpc import StatusCode

from fake import Fake, batch, event, info, then_beat, then_end, then_fail

PASSING = [StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.CANCELLED]
LASTING = [
    (StatusCode.INTERNAL, "INTERNAL"),
    (StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    (StatusCode.PERMISSION_DENIED, "ROLE_TOO_SMALL"),
    (StatusCode.INVALID_ARGUMENT, "CURSOR_INVALID"),
]


def watched(client, fake, count, *arguments):
    """Watches so many events, and returns all that was said."""
    watch = ("watch", "--count", str(count), "--heartbeat", "1", *arguments)
    return client.start(*watch, **fake.settings()).end()


def names(said):
    return [line["event_id"].removeprefix("id-") for line in said if "event_id" in line]


def test_unknown_kind(crowd):
    """An event of a kind that is not known yet is handed out, and the stream goes on"""

    def watch(client):
        with Fake(then_beat(batch(event("a"), event("b", unknown=True), event("c")))) as fake:
            said = watched(client, fake, 3)
        kinds = [line["kind"] for line in said if "kind" in line]
        assert kinds == ["community_changed", "", "community_changed"]

    crowd.each(watch)


def test_end(crowd):
    """A stream that ends without an error is resumed after the batch"""

    def watch(client):
        first = then_end(batch(event("a"), event("b"), cursor="cursor-after-b"))
        with Fake(first, then_beat(batch(event("c")))) as fake:
            assert names(watched(client, fake, 3)) == ["a", "b", "c"]
        assert fake.requests[1].after_cursor == "cursor-after-b"

    crowd.each(watch)


def test_breaks(crowd):
    """Errors of the way are tried again: INTERNAL, UNKNOWN, CANCELLED without a reason"""

    def watch(client):
        breaks = [then_fail(code, batch(event(code.name))) for code in PASSING]
        with Fake(*breaks, then_beat(batch(event("z")))) as fake:
            said = watched(client, fake, 4)
        assert names(said) == [*(code.name for code in PASSING), "z"]
        retries = [line["retry"]["code"] for line in said if "retry" in line]
        assert retries == [code.name for code in PASSING]
        assert [r.after_cursor for r in fake.requests[1:]] == [f"cursor-{c.name}" for c in PASSING]

    crowd.each(watch)


def test_lasting(crowd):
    """Errors that a retry cannot cure stop a watch at once"""

    def stop(client):
        for code, reason in LASTING:
            with Fake(then_fail(code, batch(event("a")), details=info(code, reason))) as fake:
                program = client.start("watch", **fake.settings())
                error = program.error()
            assert error["code"] == code.name, error
            assert error["reason"] == f"ERROR_REASON_{reason}", error
            assert not program.retries
            assert names(program.said) == ["a"]

    crowd.each(stop)


def test_unimplemented(crowd):
    """A server that knows nothing of it stops a watch, with advice"""

    def stop(client):
        with Fake(then_fail(StatusCode.UNIMPLEMENTED)) as fake:
            error = client.start("watch", **fake.settings()).error()
        assert error["code"] == "UNIMPLEMENTED", error
        assert "METAGOV_ENDPOINT" in error["advice"], error

    crowd.each(stop)


def test_retry_delay(crowd):
    """The delay that the gateway asks for is kept"""
    told = info(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", delay=1.25)
    limited = then_fail(StatusCode.RESOURCE_EXHAUSTED, details=told)

    def watch(client):
        with Fake(limited, then_beat(batch(event("a")))) as fake:
            said = watched(client, fake, 1)
            [retry] = [line["retry"] for line in said if "retry" in line]
            assert retry["code"] == "RESOURCE_EXHAUSTED", retry
            assert retry["delay"] >= 1.25, retry

    crowd.each(watch)


def test_error_delay(crowd):
    """An error has its delay, in seconds"""
    told = info(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", delay=1.25)

    def get(client):
        with Fake(then_fail(StatusCode.RESOURCE_EXHAUSTED, details=told)) as fake:
            error = client.start("get-community", "garden", **fake.settings()).error()
        assert error["reason"] == "ERROR_REASON_RATE_LIMITED", error
        assert error["retry_delay"] == 1.25, error

    crowd.each(get)


def test_damaged_details(crowd):
    """An error whose details are damaged is an error all the same"""
    damaged = then_fail(StatusCode.NOT_FOUND, details=b"\xff\xff\xff")

    def get(client):
        with Fake(damaged) as fake:
            error = client.start("get-community", "garden", **fake.settings()).error()
        assert error["code"] == "NOT_FOUND", error
        assert error["reason"] == "", error

    crowd.each(get)


def test_silence(crowd):
    """Silence ends a stream even if the connection lives"""

    def mute(_, context):
        yield batch(event("a"))
        while context.is_active():
            time.sleep(0.5)

    def watch(client):
        with Fake(mute, then_beat(batch(event("b")))) as fake:
            assert names(watched(client, fake, 2)) == ["a", "b"]
        assert fake.requests[1].after_cursor == "cursor-a"

    crowd.each(watch)
