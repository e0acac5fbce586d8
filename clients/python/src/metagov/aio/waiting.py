"""Waits for a process, with asyncio."""

from collections.abc import Callable

from grpc import aio

from ..bearer import Metadata
from ..retry import OnRetry, patience
from ..v1 import process_pb2, process_pb2_grpc
from ..waiting import DONE, watching
from .stream import Stream


async def wait(
    dial: Callable[[], aio.Channel],
    metadata: Metadata,
    process_id: str,
    timeout: float | None,
    heartbeat: float,
    on_retry: OnRetry | None,
) -> process_pb2.Process:
    """See `Client.wait_for_process`."""
    request = watching(process_id, heartbeat)

    def call(
        channel: aio.Channel,
    ) -> aio.UnaryStreamCall[process_pb2.WatchProcessRequest, process_pb2.WatchProcessResponse]:
        return process_pb2_grpc.ProcessServiceStub(channel).WatchProcess(request, metadata=metadata)

    stream = Stream(dial, call, patience(heartbeat), on_retry, timeout)
    try:
        while (process := (await stream.read()).process).state not in DONE:
            pass
        return process
    finally:
        await stream.close()
