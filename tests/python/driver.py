"""A driver in a process of its own: `driver.py ADDRESS COMMUNITY [CURSOR]`,
with its token in the variable METAGOV_TOKEN.

Watches the platform events of a community and prints each message of the stream as one
line of JSON. Started by a test; `Driver` is the test's end of it.
"""

import os
import subprocess
import sys
from typing import Iterator

import grpc
from google.protobuf import json_format

if __name__ == "__main__":
    import stubs

    sys.path.insert(0, str(stubs.OUT))

from metagov.v1 import event_pb2, event_pb2_grpc  # noqa: E402


class Driver:
    """The driver as a child process, and its stream."""

    def __init__(self, gateway, community: str, cursor: str = ""):
        command = [sys.executable, __file__, gateway.address, community, cursor]
        variables = os.environ | {"METAGOV_TOKEN": gateway.token}
        self._child = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=variables
        )

    def __enter__(self) -> "Driver":
        return self

    def __iter__(self) -> Iterator[event_pb2.WatchEventsResponse]:
        for line in self._child.stdout:
            yield json_format.Parse(line, event_pb2.WatchEventsResponse())

    def __exit__(self, *_) -> None:
        self._child.kill()
        self._child.wait()


def watch(address: str, community: str, cursor: str) -> None:
    """Prints the stream until it ends."""
    kinds = event_pb2.EventFilter(
        community_ids=[community], kinds=[event_pb2.EVENT_KIND_PLATFORM]
    )
    request = event_pb2.WatchEventsRequest(filter=kinds)
    if cursor:
        request.after_cursor = cursor
    bearer = [("authorization", f"Bearer {os.environ['METAGOV_TOKEN']}")]
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        for message in event_pb2_grpc.EventServiceStub(channel).WatchEvents(request, metadata=bearer):
            print(json_format.MessageToJson(message, indent=None), flush=True)


if __name__ == "__main__":
    watch(*sys.argv[1:])
