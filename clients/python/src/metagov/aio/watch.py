"""Events as they happen, for asyncio."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from grpc import aio

from ..bearer import Metadata
from ..feed import Feed
from ..retry import OnRetry, patience
from ..v1 import event_pb2, event_pb2_grpc, subscription_pb2, subscription_pb2_grpc
from .stream import Stream


class Watch:
    """An endless stream of events that survives whatever a retry can cure.

    It is an asynchronous iterator; otherwise it is as `metagov.Watch`. Cancelling the task
    that waits for an event ends it, and so does `close`.
    """

    def __init__(
        self,
        dial: Callable[[], aio.Channel],
        metadata: Metadata,
        feed: Feed,
        on_retry: OnRetry | None,
    ) -> None:
        """See `Client.watch`."""
        self._feed, self._metadata = feed, metadata
        self._stream = Stream(dial, self._open, patience(feed.heartbeat), on_retry)
        self._reader: asyncio.Task[event_pb2.Event] | None = None
        self._closed = False

    @property
    def cursor(self) -> str:
        """The place of the last event that was handed out, or of a heartbeat after it.

        Save it once the event is dealt with, and give it as `after` next time.
        """
        return self._feed.cursor

    def __aiter__(self) -> Self:
        """Is itself."""
        return self

    async def __anext__(self) -> event_pb2.Event:
        """Waits for the next event."""
        if self._closed:
            raise StopAsyncIteration
        self._reader = asyncio.ensure_future(self._following())
        try:
            return await self._reader
        except BaseException:
            ended = self._closed
            await self.close()
            if ended:
                raise StopAsyncIteration from None
            raise

    async def close(self) -> None:
        """Ends it at once: whoever waits for an event gets no more."""
        self._closed = True
        if self._reader is not None:
            self._reader.cancel()
        await self._stream.close()

    async def __aenter__(self) -> Self:
        """Is itself, until the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        await self.close()

    async def _following(self) -> event_pb2.Event:
        while True:
            if self._feed.unacknowledged:
                await self._stream.attempt(self._acknowledge)
            if event := self._feed.next():
                return event
            self._feed.take(await self._stream.read())

    def _open(
        self, channel: aio.Channel
    ) -> aio.UnaryStreamCall[event_pb2.WatchEventsRequest, event_pb2.WatchEventsResponse]:
        events = event_pb2_grpc.EventServiceStub(channel)
        return events.WatchEvents(self._feed.request(), metadata=self._metadata)

    async def _acknowledge(self, channel: aio.Channel) -> None:
        request = subscription_pb2.AcknowledgeEventsRequest(
            subscription_id=self._feed.start.subscription or "",
            cursor=self._feed.unacknowledged,
        )
        subscriptions = subscription_pb2_grpc.SubscriptionServiceStub(channel)
        await subscriptions.AcknowledgeEvents(request, metadata=self._metadata)
        self._feed.unacknowledged = ""
