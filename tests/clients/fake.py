"""A gateway that does what a row tells it, in ways that the real one rarely would."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator

import grpc
from google.protobuf.any_pb2 import Any

from metagov.v1 import community_pb2_grpc, event_pb2, event_pb2_grpc

# What a call to WatchEvents does.
Step = Callable[
    [event_pb2.WatchEventsRequest, grpc.ServicerContext], Iterator[event_pb2.WatchEventsResponse]
]

# The field of an event that no contract has yet.
UNKNOWN_FIELD = 4000


class Fake(event_pb2_grpc.EventServiceServicer, community_pb2_grpc.CommunityServiceServicer):
    """Answers the first call to WatchEvents by the first step, and so on; the last repeats."""

    token = "mgv_fake"

    def __init__(self, *steps: Step):
        self._steps = list(steps)
        self.requests: list[event_pb2.WatchEventsRequest] = []
        self._server = grpc.server(ThreadPoolExecutor(8))
        event_pb2_grpc.add_EventServiceServicer_to_server(self, self._server)
        community_pb2_grpc.add_CommunityServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> "Fake":
        self._server.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.stop(None).wait()

    def settings(self) -> dict[str, str]:
        """What a client is told of it."""
        return {"METAGOV_ENDPOINT": f"http://{self.address}", "METAGOV_TOKEN": self.token}

    def WatchEvents(self, request, context):
        step = self._steps[min(len(self.requests), len(self._steps) - 1)]
        self.requests.append(request)
        yield from step(request, context)

    def GetCommunity(self, request, context):
        # The step fails: a single call has no use for what it would send.
        return list(self._steps[0](request, context))


def event(name: str, unknown: bool = False) -> event_pb2.Event:
    """An event whose id and cursor follow from its name."""
    made = event_pb2.Event(event_id=f"id-{name}", cursor=f"cursor-{name}", community_id="garden")
    if unknown:
        return event_pb2.Event.FromString(made.SerializeToString() + field(UNKNOWN_FIELD, b"new"))
    made.community_changed.change_kind = event_pb2.CHANGE_KIND_UPDATED
    return made


def batch(*events: event_pb2.Event, cursor: str = "") -> event_pb2.WatchEventsResponse:
    """A message with events."""
    return event_pb2.WatchEventsResponse(events=events, cursor=cursor or events[-1].cursor)


def then_beat(*messages: event_pb2.WatchEventsResponse) -> Step:
    """Sends these, then heartbeats without end."""

    def step(_, context):
        yield from messages
        while context.is_active():
            yield event_pb2.WatchEventsResponse(cursor=messages[-1].cursor)
            time.sleep(0.5)

    return step


def then_end(*messages: event_pb2.WatchEventsResponse) -> Step:
    """Sends these, and ends without a fault."""
    return lambda *_: iter(messages)


def then_fail(code: grpc.StatusCode, *messages, details: bytes | None = None) -> Step:
    """Sends these, and fails."""

    def step(_, context):
        yield from messages
        if details is not None:
            context.set_trailing_metadata([("grpc-status-details-bin", details)])
        context.abort(code, "as it was told")

    return step


def info(code: grpc.StatusCode, reason: str, delay: float | None = None) -> bytes:
    """A google.rpc.Status with an ErrorInfo of the gateway's, and perhaps a RetryInfo."""
    told = text(1, f"ERROR_REASON_{reason}") + text(2, "metagov.org")
    details = [detail("ErrorInfo", told)]
    if delay is not None:
        seconds, nanos = int(delay), round(delay % 1 * 1e9)
        duration = number(1, seconds) + number(2, nanos)
        details.append(detail("RetryInfo", field(1, duration)))
    head = number(1, code.value[0]) + text(2, "as it was told")
    return head + b"".join(field(3, each) for each in details)


def detail(name: str, value: bytes) -> bytes:
    return Any(type_url=f"type.googleapis.com/google.rpc.{name}", value=value).SerializeToString()


# The wire format, since the messages of google.rpc are not among what the tests install.
def field(place: int, payload: bytes) -> bytes:
    return varint(place << 3 | 2) + varint(len(payload)) + payload


def text(place: int, content: str) -> bytes:
    return field(place, content.encode())


def number(place: int, value: int) -> bytes:
    return varint(place << 3) + varint(value)


def varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low]) if value < 0x80 else bytes([low | 0x80]) + varint(value >> 7)
