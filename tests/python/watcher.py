"""Reads a stream of WatchEvents in a thread, so that a test can wait for what comes."""

import queue
import threading
from typing import Iterable

import grpc

from gateway import PATIENCE
from metagov.v1 import event_pb2


class Watcher:
    """The events of a stream, one by one, and its cursor."""

    def __init__(self, stream: Iterable[event_pb2.WatchEventsResponse]):
        self.cursor = ""
        self._arrivals: queue.Queue = queue.Queue()
        self._events: list[event_pb2.Event] = []
        thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        thread.start()
        # The first message comes at once, even if it is empty: from here on nothing
        # that happens is missed.
        self._take()

    def next(self) -> event_pb2.Event:
        """The next event; fails if none comes."""
        while not self._events:
            self._take()
        return self._events.pop(0)

    def end(self) -> grpc.RpcError | None:
        """Waits for the stream's end, and returns the error it ended with."""
        while True:
            arrival = self._arrivals.get(timeout=PATIENCE)
            if not isinstance(arrival, event_pb2.WatchEventsResponse):
                return arrival

    def _take(self) -> None:
        arrival = self._arrivals.get(timeout=PATIENCE)
        assert isinstance(arrival, event_pb2.WatchEventsResponse), f"the stream ended: {arrival}"
        self._events.extend(arrival.events)
        self.cursor = arrival.cursor

    def _read(self, stream: Iterable[event_pb2.WatchEventsResponse]) -> None:
        try:
            for response in stream:
                self._arrivals.put(response)
            self._arrivals.put(None)
        except grpc.RpcError as error:
            self._arrivals.put(error)
