"""Events as they happen, for threads."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import grpc

from .bearer import Metadata
from .feed import Feed
from .retry import OnRetry, patience
from .stream import Call, Closed, Stream
from .v1 import event_pb2, event_pb2_grpc, subscription_pb2, subscription_pb2_grpc


class Watch:
    """An endless stream of events that survives whatever a retry can cure.

    It is an iterator. When the gateway restarts, drains, or is out of reach, it connects
    again with growing pauses and goes on where it was: no event is lost, none comes twice.
    It raises what a retry cannot cure as grpc.RpcError: `metagov.error` reads it.

    With a subscription, asking for the next event says that the one before is dealt with.
    """

    def __init__(
        self,
        dial: Callable[[], grpc.Channel],
        metadata: Metadata,
        feed: Feed,
        on_retry: OnRetry | None,
    ) -> None:
        """See `Client.watch`."""
        self._feed, self._metadata = feed, metadata
        silence = patience(feed.heartbeat)
        self._stream = Stream(dial, self._open, silence, on_retry)

    @property
    def cursor(self) -> str:
        """The place of the last event that was handed out, or of a heartbeat after it.

        Save it once the event is dealt with, and give it as `after` next time.
        """
        return self._feed.cursor

    def __iter__(self) -> Self:
        """Is itself."""
        return self

    def __next__(self) -> event_pb2.Event:
        """Waits for the next event."""
        try:
            return self._following()
        except Closed:
            self.close()
            raise StopIteration from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends it at once, from any thread: whoever waits for an event gets no more."""
        self._stream.close()

    def __enter__(self) -> Self:
        """Is itself, until the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    def _following(self) -> event_pb2.Event:
        while True:
            if self._feed.unacknowledged:
                self._stream.attempt(self._acknowledge)
            if event := self._feed.next():
                return event
            self._feed.take(self._stream.read())

    def _open(self, channel: grpc.Channel) -> Call[event_pb2.WatchEventsResponse]:
        events = event_pb2_grpc.EventServiceStub(channel)
        return events.WatchEvents(self._feed.request(), metadata=self._metadata)

    def _acknowledge(self, channel: grpc.Channel, limit: float) -> None:
        request = subscription_pb2.AcknowledgeEventsRequest(
            subscription_id=self._feed.start.subscription or "",
            cursor=self._feed.unacknowledged,
        )
        subscriptions = subscription_pb2_grpc.SubscriptionServiceStub(channel)
        subscriptions.AcknowledgeEvents(request, timeout=limit, metadata=self._metadata)
        self._feed.unacknowledged = ""
