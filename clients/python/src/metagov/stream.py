"""A stream that is opened anew whenever it breaks, for threads."""

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import grpc

from .errors import Fault, error
from .retry import Backoff, OnRetry, may_pass

Response = TypeVar("Response", covariant=True)
Result = TypeVar("Result")


class Call(Protocol[Response]):
    """A running call that answers with a stream."""

    def __next__(self) -> Response: ...
    def cancel(self) -> bool: ...


class Closed(Exception):
    """The stream was closed by its owner."""


class Silent(Exception):
    """Nothing was heard for too long."""


class Stream(Generic[Response]):
    """Messages of one call after another.

    Each call has a channel of its own, so that none is led into a connection that is dead.
    """

    def __init__(
        self,
        dial: Callable[[], grpc.Channel],
        call: Callable[[grpc.Channel], Call[Response]],
        silence: float,
        on_retry: OnRetry | None,
        timeout: float | None = None,
    ) -> None:
        """Takes the seconds of silence after which a call is lost, and those for all of it."""
        self._dial, self._open = dial, call
        self._silence, self._on_retry = silence, on_retry
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._backoff = Backoff()
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None
        self._call: Call[Response] | None = None

    def read(self) -> Response:
        """The next message, of whichever call. Raises what a retry cannot cure, or Closed."""
        return self.attempt(self._next)

    def attempt(self, step: Callable[[grpc.Channel, float], Result]) -> Result:
        """Takes a step on the channel, within some seconds, until it succeeds."""
        while True:
            fault = Fault("UNAVAILABLE", "the stream ended")
            try:
                result = step(self._connected(), self._limit())
            except StopIteration:
                pass
            except Silent as silence:
                self._check()
                fault = Fault("UNAVAILABLE", str(silence))
            except grpc.RpcError as broken:
                self._check()
                fault = error(broken)
                if not may_pass(fault):
                    raise
            except ValueError:
                # So grpc says that the channel was closed meanwhile.
                self._check()
                raise
            else:
                self._backoff.reset()
                return result
            self._lost(fault)

    def close(self) -> None:
        """Ends it at once, from any thread."""
        self._closed.set()
        self._drop()

    def _next(self, channel: grpc.Channel, limit: float) -> Response:
        if self._call is None:
            self._call = self._open(channel)
            # Whoever closed it before has seen no call to cancel.
            self._check()
        call = self._call
        silent = threading.Timer(limit, call.cancel)
        silent.daemon = True
        silent.start()
        try:
            return next(call)
        except grpc.RpcError:
            if silent.finished.is_set():
                raise Silent(f"nothing was heard for {limit:.0f} s") from None
            raise
        finally:
            silent.cancel()

    def _connected(self) -> grpc.Channel:
        self._check()
        if self._channel is None:
            self._channel = self._dial()
        return self._channel

    def _limit(self) -> float:
        left = self._silence if self._deadline is None else self._deadline - time.monotonic()
        return max(min(left, self._silence), 0.0)

    def _check(self) -> None:
        if self._closed.is_set():
            raise Closed
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeoutError("it is not done, and the time for it is over")

    def _lost(self, fault: Fault) -> None:
        self._drop()
        delay = self._backoff.next(fault)
        if self._on_retry:
            self._on_retry(fault, delay)
        self._closed.wait(delay if self._deadline is None else min(delay, self._limit()))

    def _drop(self) -> None:
        call, self._call = self._call, None
        channel, self._channel = self._channel, None
        if call is not None:
            call.cancel()
        if channel is not None:
            channel.close()
