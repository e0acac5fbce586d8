"""A load that keeps records: platforms that deliver, drivers that call, and readers.

All of it goes on through kills: what fails is recorded, and what is in doubt is sent again
as a platform or a careful driver would. The numbers of posts and the ids of requests are
unique in a world, so that each can be looked for afterwards.
"""

import hashlib
import hmac
import http.client
import itertools
import json
import random
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator

import grpc
from google.protobuf.duration_pb2 import Duration

from discourse import SECRET, FakeDiscourse
from metagov.v1 import community_pb2, event_pb2, identity_pb2, process_pb2

from .drive import enable, struct
from .harness import World
from .server import Client, Gateway

GARDEN = "garden"
# A call that takes longer counts as unanswered.
SECONDS = 10.0

# What each reader wants: in the words of the checker, and as a filter.
READERS: dict[str, dict[str, Any]] = {
    "all": {},
    "posts": {"communities": [GARDEN], "kinds": ["platform"]},
    "processes": {"communities": [GARDEN], "kinds": ["process"]},
    "nothing": {"communities": [GARDEN], "types": ["discourse.never"]},
}
KINDS = {
    "platform": event_pb2.EVENT_KIND_PLATFORM,
    "process": event_pb2.EVENT_KIND_PROCESS_CHANGED,
}


def event_filter(wanted: dict[str, Any]) -> event_pb2.EventFilter:
    return event_pb2.EventFilter(
        community_ids=wanted.get("communities", []),
        kinds=[KINDS[kind] for kind in wanted.get("kinds", [])],
        event_types=wanted.get("types", []),
    )


class Forum:
    """A Discourse that tells a gateway of posts, and its installation."""

    def __init__(self, world: World, forum: FakeDiscourse, path: str):
        self._world = world
        self._url = forum.url
        self._path = path

    def post(self, gateway: Gateway, number: int, words: str = "") -> bool:
        """Delivers a post; whether it was acknowledged. Each time it is sent it has
        another id in its (unsigned) header."""
        post = {"id": number, "topic_id": 1, "topic_slug": "a", "post_number": number,
                "raw": words or f"post {number}", "username": "ada"}
        body = json.dumps({"post": post}).encode()
        digest = hashlib.sha256(body).hexdigest()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Discourse-Instance": self._url,
            "X-Discourse-Event-Id": str(random.getrandbits(60)),
            "X-Discourse-Event-Type": "post",
            "X-Discourse-Event": "post_created",
            "X-Discourse-Event-Signature": f"sha256={signature}",
        }
        acked = False
        with self._world.records.call("hook", number=number, sha256=digest) as answer:
            line = http.client.HTTPConnection(gateway.public_address, timeout=SECONDS)
            try:
                line.request("POST", self._path, body, headers)
                status = line.getresponse().status
            except http.client.HTTPException as error:
                raise OSError(str(error)) from error
            finally:
                line.close()
            acked = 200 <= status < 300
            answer |= {"status": status, "phase": "ack" if acked else "fail"}
        return acked


class Load:
    """Writers and readers in threads, at any of a world's gateways."""

    def __init__(self, world: World, forum: Forum, stay: bool = False):
        self.world = world
        self.forum = forum
        self.random = random.Random(world.cx.random.random())
        self._writing = threading.Event()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)
        self._names = itertools.count(1)
        # What clients thought of the gateway that no kill explains.
        self.surprises: list[str] = []
        # Whether a reader stays with one gateway.
        self._stay = stay

    def write(self, writers: dict[Callable[[], None], int]) -> None:
        """Begins to write: how many threads do what, over and over."""
        self._writing.set()
        for what, count in writers.items():
            for _ in range(count):
                self._start(self._repeat, what)

    def read(self, readers: dict[str, dict[str, Any]] = READERS, through: Any = None, **more: Any) -> None:
        """Begins to read. `through` gives the address to read from, if it is not that of
        a gateway."""
        for name, wanted in readers.items():
            self._start(self._reader, name, wanted, through, more)

    def pause(self) -> None:
        self._writing.clear()

    def go_on(self) -> None:
        self._writing.set()

    def end(self) -> None:
        """Ends all threads."""
        self._over.set()
        self._writing.set()
        for thread in self._threads:
            thread.join(timeout=SECONDS + 5)

    def gateway(self) -> Gateway:
        return self.random.choice(self.world.gateways)

    # Writers

    def posts(self) -> None:
        """A post; as often as not it is sent again, as platforms do, once or at once."""
        number = next(self._numbers)
        acked = self.forum.post(self.gateway(), number)
        chance = self.random.random()
        if chance < 0.15:
            twin = threading.Thread(target=self.forum.post, args=(self.gateway(), number), daemon=True)
            twin.start()
            self.forum.post(self.gateway(), number)
            twin.join()
        elif not acked or chance < 0.3:
            self._over.wait(0 if acked else 0.05)
            self.forum.post(self.gateway(), number)

    def starts(self) -> None:
        """A process with a request id, asked for until the answer is known, and sometimes
        again, at once by two, or with another body."""
        request = f"request-{next(self._names)}"
        chance = self.random.random()
        if chance < 0.2:
            twin = threading.Thread(target=self._ask, args=(request,), daemon=True)
            twin.start()
            self._ask(request)
            twin.join()
        answered = False
        for _ in range(40):
            if answered := self._ask(request):
                break
            if self._over.wait(0.05):
                return
        if answered and chance > 0.6:
            self._ask(request)
        if answered and chance > 0.9:
            self._reuse(request)

    def changes(self) -> None:
        """A community with two processes and two identities, which are merged, made and
        deleted: changes of several events. What was told of it is blank then, so two are
        merged in the garden, too."""
        name = f"gone-{next(self._names)}"
        with self.client() as client, self.world.records.call("change", community=name):
            made = community_pb2.CreateCommunityRequest(
                community=community_pb2.Community(community_id=name)
            )
            client.communities.CreateCommunity(made, timeout=SECONDS)
            enable(client, "ballot", community=name)
            for _ in range(2):
                self._vote(client, name, community=name)
            self._merge(client, name)
            self._merge(client, GARDEN)
            deleted = community_pb2.DeleteCommunityRequest(community_id=name)
            client.communities.DeleteCommunity(deleted, timeout=SECONDS)

    def failures(self) -> None:
        """A change that fails after others of its commit were good."""
        with self.client() as client, self.world.records.call("failure"):
            made = community_pb2.Community(community_id=GARDEN)
            client.communities.CreateCommunity(
                community_pb2.CreateCommunityRequest(community=made), timeout=SECONDS
            )

    def _ask(self, request: str) -> bool:
        answered = False
        with self.client() as client, self.world.records.call("start", request=request) as answer:
            answer["answer"] = self._vote(client, request, request_id=request)
            answered = True
        return answered

    def _merge(self, client: Client, community: str) -> None:
        made = identity_pb2.CreateIdentityRequest(community_id=community)
        one, other = (
            client.identities.CreateIdentity(made, timeout=SECONDS).identity.identity_id
            for _ in range(2)
        )
        merged = identity_pb2.MergeIdentitiesRequest(
            primary_identity_id=one, secondary_identity_id=other
        )
        client.identities.MergeIdentities(merged, timeout=SECONDS)

    def _reuse(self, request: str) -> None:
        with self.client() as client, self.world.records.call("reuse", request=request):
            self._vote(client, f"not {request}", request_id=request)

    def _vote(self, client: Client, title: str, community: str = GARDEN, request_id: str = "") -> str:
        asked = process_pb2.StartProcessRequest(
            community_id=community,
            process_type="ballot.vote",
            request_id=request_id,
            parameters=struct(title=title, options=["a", "b"]),
        )
        return client.processes.StartProcess(asked, timeout=SECONDS).process.process_id

    def client(self) -> Client:
        return self.world.client(self.gateway())

    def _repeat(self, what: Callable[[], None]) -> None:
        while not self._over.is_set():
            self._writing.wait()
            what()

    # Readers

    def _reader(self, name: str, wanted: dict[str, Any], through: Any, more: dict[str, Any]) -> None:
        """Reads from the beginning, and goes on after the last cursor whenever the stream
        breaks."""
        cursor = ""
        start = more.get("start", 0)
        gateway = self.gateway()
        while not self._over.is_set():
            gateway = gateway if self._stay else self.gateway()
            address = through(gateway) if through else gateway.address
            request = event_pb2.WatchEventsRequest(
                filter=event_filter(wanted), heartbeat_interval=Duration(seconds=1)
            )
            if cursor:
                request.after_cursor = cursor
            else:
                request.start_at = event_pb2.START_AT_EARLIEST
            self.world.records.write("intent", "watch", stream=name, wanted=wanted, after=cursor)
            try:
                with Client(address, self.world.token) as client:
                    stream = client.events.WatchEvents(request)
                    for batch in stream:
                        cursor = batch.cursor
                        self.world.records.write(
                            "got", "watch", stream=name, wanted=wanted, start=start, cursor=cursor,
                            events=[event.event_id for event in batch.events],
                        )
                        if self._over.is_set():
                            stream.cancel()
            except grpc.RpcError as error:
                why = error.code().name
                self.world.records.write("fail", "watch", stream=name, why=why)
                if why not in ("UNAVAILABLE", "CANCELLED", "UNKNOWN", "INTERNAL"):
                    self.surprises.append(f"{name}: {why}: {error.details()}")
            self._over.wait(0.01)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)


@contextmanager
def loaded(world: World, stay: bool = False) -> Iterator[Load]:
    """A world with a forum in the garden, and a load that is still to be begun."""
    with FakeDiscourse() as discourse:
        with world.client(world.gateway) as client:
            garden = community_pb2.Community(community_id=GARDEN)
            client.communities.CreateCommunity(
                community_pb2.CreateCommunityRequest(community=garden), timeout=SECONDS
            )
            enable(client, "ballot")
            installation = enable(client, "discourse", discourse.config())
        path = "/" + installation.webhook_url.split("/", 3)[3]
        load = Load(world, Forum(world, discourse, path), stay)
        try:
            yield load
        finally:
            load.end()


def settle(world: World, seconds: float = 10.0) -> None:
    """Waits until the log does not grow any more."""
    before, deadline = -1, time.monotonic() + seconds
    while time.monotonic() < deadline:
        events = world.dump().events
        now = events[-1]["position"] if events else 0
        if now == before:
            return
        before = now
        time.sleep(0.15)
