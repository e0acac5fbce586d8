"""A gateway whose log soon no longer reaches back to its first events."""

import time

import grpc

from garden import log, plant
from gateway import Gateway
from metagov.v1 import event_pb2

# The shortest that can be set, in seconds; what is old is looked for as often.
RETENTION = 60


class Aging(Gateway):
    """Started early in a run, so that nobody has to wait long for it."""

    def __init__(self, folder):
        super().__init__(folder, settings={"METAGOV_EVENT_RETENTION": f"{RETENTION}s"})

    def __enter__(self) -> "Aging":
        super().__enter__()
        plant(self)
        self.first = log(self, "garden")[0].cursor
        return self

    def wait(self) -> None:
        """Waits until the first event is gone."""
        request = event_pb2.ListEventsRequest(after_cursor=self.first)
        deadline = time.monotonic() + 3 * RETENTION
        while time.monotonic() < deadline:
            try:
                self.events.ListEvents(request)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.OUT_OF_RANGE
                return
            time.sleep(0.5)
        raise AssertionError("nothing was removed")
