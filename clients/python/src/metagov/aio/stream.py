"""A stream that is opened anew whenever it breaks, for asyncio."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import grpc
from grpc import aio

from ..errors import Fault, error
from ..retry import Backoff, OnRetry, may_pass

Response = TypeVar("Response", covariant=True)
Result = TypeVar("Result")


class Call(Protocol[Response]):
    """A running call that answers with a stream."""

    def __aiter__(self) -> AsyncIterator[Response]: ...
    def cancel(self) -> bool: ...


class Stream(Generic[Response]):
    """Messages of one call after another; see `metagov.stream.Stream`."""

    def __init__(
        self,
        dial: Callable[[], aio.Channel],
        call: Callable[[aio.Channel], Call[Response]],
        silence: float,
        on_retry: OnRetry | None,
        timeout: float | None = None,
    ) -> None:
        """Takes the seconds of silence after which a call is lost, and those for all of it."""
        self._dial, self._open = dial, call
        self._silence, self._on_retry = silence, on_retry
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._backoff = Backoff()
        self._channel: aio.Channel | None = None
        self._call: Call[Response] | None = None
        self._messages: AsyncIterator[Response] | None = None

    async def read(self) -> Response:
        """The next message, of whichever call. Raises what a retry cannot cure."""
        return await self.attempt(self._next)

    async def attempt(self, step: Callable[[aio.Channel], Awaitable[Result]]) -> Result:
        """Takes a step on the channel until it succeeds."""
        while True:
            limit = self._limit()
            try:
                async with asyncio.timeout(limit):
                    result = await step(self._connected())
            except StopAsyncIteration:
                fault = Fault("UNAVAILABLE", "the stream ended")
            except TimeoutError:
                fault = Fault("UNAVAILABLE", f"nothing was heard for {limit:.0f} s")
            except grpc.RpcError as broken:
                fault = error(broken)
                if not may_pass(fault):
                    raise
            else:
                self._backoff.reset()
                return result
            await self._lost(fault)

    async def close(self) -> None:
        """Ends it at once."""
        call, self._call, self._messages = self._call, None, None
        channel, self._channel = self._channel, None
        if call is not None:
            call.cancel()
        if channel is not None:
            await channel.close()

    async def _next(self, channel: aio.Channel) -> Response:
        if self._messages is None:
            self._call = self._open(channel)
            self._messages = aiter(self._call)
        return await anext(self._messages)

    def _connected(self) -> aio.Channel:
        if self._channel is None:
            self._channel = self._dial()
        return self._channel

    def _limit(self) -> float:
        if self._deadline is None:
            return self._silence
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it is not done, and the time for it is over")
        return min(left, self._silence)

    async def _lost(self, fault: Fault) -> None:
        await self.close()
        delay = self._backoff.next(fault)
        if self._deadline is not None:
            delay = min(delay, self._limit())
        if self._on_retry:
            self._on_retry(fault, delay)
        await asyncio.sleep(delay)
