"""Waits for a process, in a thread."""

from collections.abc import Callable

import grpc
from google.protobuf.duration_pb2 import Duration

from .bearer import Metadata
from .retry import OnRetry, patience
from .stream import Call, Stream
from .v1 import process_pb2, process_pb2_grpc

DONE = {
    process_pb2.PROCESS_STATE_COMPLETED,
    process_pb2.PROCESS_STATE_CANCELLED,
    process_pb2.PROCESS_STATE_FAILED,
}


def watching(process_id: str, heartbeat: float) -> process_pb2.WatchProcessRequest:
    """The request for a process's changes."""
    nanos = round(heartbeat * 1e9)
    beat = Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
    return process_pb2.WatchProcessRequest(process_id=process_id, heartbeat_interval=beat)


def wait(
    dial: Callable[[], grpc.Channel],
    metadata: Metadata,
    process_id: str,
    timeout: float | None,
    heartbeat: float,
    on_retry: OnRetry | None,
) -> process_pb2.Process:
    """See `Client.wait_for_process`."""
    request = watching(process_id, heartbeat)

    def call(channel: grpc.Channel) -> Call[process_pb2.WatchProcessResponse]:
        return process_pb2_grpc.ProcessServiceStub(channel).WatchProcess(request, metadata=metadata)

    stream = Stream(dial, call, patience(heartbeat), on_retry, timeout)
    try:
        while (process := stream.read().process).state not in DONE:
            pass
        return process
    finally:
        stream.close()
