"""What a watch asks for and hands out, without any I/O."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from .v1 import event_pb2

# Told of each place that is reached: its cursor.
OnPosition = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """Where to begin. One of these, or none for what happens from now on."""

    after: str | None = None
    since: datetime | None = None
    earliest: bool = False
    subscription: str | None = None

    def __post_init__(self) -> None:
        """Checks that there is one at most."""
        given = [self.after, self.since, self.earliest, self.subscription]
        if sum(bool(place) for place in given) > 1:
            raise ValueError("give one of after, since, earliest and subscription")

    def put(self, request: event_pb2.WatchEventsRequest) -> None:
        """Puts it into a request."""
        if self.after:
            request.after_cursor = self.after
        elif self.since:
            at = Timestamp()
            at.FromDatetime(self.since.astimezone(UTC))
            request.start_time.CopyFrom(at)
        elif self.subscription:
            request.subscription_id = self.subscription
        else:
            request.start_at = (
                event_pb2.START_AT_EARLIEST if self.earliest else event_pb2.START_AT_LATEST
            )


@dataclass
class Feed:
    """The place of a watch, and the events that are at hand."""

    filter: event_pb2.EventFilter | None
    start: Start
    # In seconds.
    heartbeat: float
    on_position: OnPosition | None = None
    # The place that was handed out last; "" until there is one.
    cursor: str = ""
    # What a subscription is to acknowledge before anything else is handed out.
    unacknowledged: str = ""
    _events: deque[event_pb2.Event] = field(default_factory=deque)
    # The place after all events at hand.
    _reached: str = ""

    def __post_init__(self) -> None:
        """Checks what cannot go together."""
        if self.filter is not None and self.start.subscription:
            raise ValueError("a subscription has a filter of its own: give none")
        self.cursor = self.start.after or ""

    def request(self) -> event_pb2.WatchEventsRequest:
        """What to ask for: to begin with the start, then on from where it came to."""
        nanos = round(self.heartbeat * 1e9)
        beat = Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
        request = event_pb2.WatchEventsRequest(filter=self.filter, heartbeat_interval=beat)
        # The gateway keeps the place of a subscription.
        begun = self._reached and not self.start.subscription
        (Start(after=self._reached) if begun else self.start).put(request)
        return request

    def take(self, response: event_pb2.WatchEventsResponse) -> None:
        """Takes what has come."""
        self._events.extend(response.events)
        self._reached = response.cursor
        if not response.events:
            # A subscription that seldom has an event would else grow older than the log.
            if self.start.subscription and response.cursor != self.cursor:
                self.unacknowledged = response.cursor
            self._hand_out(response.cursor)

    def next(self) -> event_pb2.Event | None:
        """The next event at hand. With none, all that has come is dealt with."""
        if not self._events:
            if self._reached and self._reached != self.cursor:
                self._hand_out(self._reached)
            return None
        event = self._events.popleft()
        self.cursor = event.cursor
        if self.start.subscription:
            self.unacknowledged = event.cursor
        return event

    def _hand_out(self, cursor: str) -> None:
        self.cursor = cursor
        if self.on_position:
            self.on_position(cursor)
