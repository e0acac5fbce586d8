"""What a driver notices when the gateway is asked to stop."""

import grpc

from metagov.v1 import event_pb2
from watcher import Watcher


def test_sigterm_ends_streams_with_unavailable_and_exits_with_0(gateway):
    watcher = Watcher(gateway.events.WatchEvents(event_pb2.WatchEventsRequest()))
    gateway.terminate()
    error = watcher.end()
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert b"ERROR_REASON_DRAINING" in details
    assert b"google.rpc.RetryInfo" in details
    assert gateway.exit_code() == 0
