"""A community in which things happen."""

import threading
import time

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from calls import create_community, enable, struct
from gateway import Bearer, Gateway, connect
from metagov.v1 import community_pb2, community_pb2_grpc, event_pb2, process_pb2


def plant(gateway: Gateway) -> None:
    """Creates the community `garden` with what the rows use."""
    create_community(gateway, "garden")
    enable(gateway, "randomness", {"default_low": 0, "default_high": 10})
    enable(gateway, "ballot")


def rename(gateway: Gateway, community: str, names: list[str]) -> None:
    """Gives a community one name after the other, each an event; creates it if need be."""
    for name in names:
        gateway.communities.UpdateCommunity(renaming(community, name))


def renaming(community: str, name: str) -> community_pb2.UpdateCommunityRequest:
    changed = community_pb2.Community(community_id=community, display_name=name)
    return community_pb2.UpdateCommunityRequest(community=changed, allow_missing=True)


def log(gateway: Gateway, community: str, after: str = "") -> list[event_pb2.Event]:
    """All events of a community, as ListEvents has them."""
    request = event_pb2.ListEventsRequest(
        filter=event_pb2.EventFilter(community_ids=[community]),
        start_at=event_pb2.START_AT_EARLIEST,
        page_size=1000,
    )
    if after:
        request.after_cursor = after
    events = []
    while True:
        page = gateway.events.ListEvents(request)
        events.extend(page.events)
        if page.caught_up:
            return events
        request.after_cursor = page.cursor


def ids(events: list[event_pb2.Event]) -> list[str]:
    """What tells events apart."""
    return [event.event_id for event in events]


def vote(gateway: Gateway, title: str, seconds: float | None = None) -> str:
    """Starts a vote, which closes by itself after so long, and returns its id."""
    request = process_pb2.StartProcessRequest(
        community_id="garden",
        process_type="ballot.vote",
        parameters=struct(title=title, options=["soup", "bread"]),
    )
    if seconds is not None:
        request.close_time.CopyFrom(Timestamp(nanos=0))
        request.close_time.FromNanoseconds(time.time_ns() + int(seconds * 1e9))
    return gateway.processes.StartProcess(request).process.process_id


class Busy:
    """Has something happen in a community all the time, as far as the gateway answers."""

    def __init__(self, gateway: Gateway, community: str, pause: float = 0.01):
        self.made = 0
        self._pause = pause
        self._community = community
        self._gateway = gateway
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Busy":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def until(self, more: int) -> None:
        """Waits until so many more things have happened."""
        goal = self.made + more
        deadline = time.monotonic() + 30
        while self.made < goal:
            assert time.monotonic() < deadline, "nothing happens"
            time.sleep(0.01)

    def _run(self) -> None:
        while not self._over.is_set():
            # Anew each time it was lost, or grpc would wait before it tries again.
            with connect(self._gateway.address) as line:
                channel = grpc.intercept_channel(line, Bearer(self._gateway.token))
                self._rename(community_pb2_grpc.CommunityServiceStub(channel))
            self._over.wait(0.05)

    def _rename(self, communities) -> None:
        while not self._over.wait(self._pause):
            try:
                communities.UpdateCommunity(renaming(self._community, str(self.made)), timeout=5)
            except grpc.RpcError:
                return
            self.made += 1
