"""H11: SIGTERM under load. One gateway drains; two are restarted one after the other.

Health says NOT_SERVING within 100 ms, a call that runs is answered, streams end with
UNAVAILABLE, what was acked is there, and the exit code is 0. On Postgres a client with
gRPC's own retry policy sees no call fail while two replicas are restarted in turn.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from metagov.v1 import action_pb2, action_pb2_grpc, event_pb2

from .. import drive
from ..harness import Context, Finding, Tally, World, harness
from ..hostile import Hostile
from ..server import Gateway

DRAIN = 10.0
NOT_SERVING_WITHIN = 0.1
# How long the call takes that is running when the signal comes.
SLOW = 0.7
CALLERS = 6
POLICY = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


@harness("H11", "drain", required={"R19": 100}, weight=0.7)
def drain(cx: Context) -> Iterator[list[Finding]]:
    """SIGTERM under load: nothing acked is lost, nobody is cut off."""
    replicas = 2 if cx.database == "postgres" else 1
    with Hostile(SLOW) as forum, cx.world(replicas, drain_timeout=f"{round(DRAIN)}s") as world:
        with world.client() as client:
            drive.stage(client, "ballot")
            drive.enable(
                client,
                "discourse",
                {"server_url": forum.url, "api_key": "a key", "webhook_secret": "secret"},
            )
            process = drive.vote(client).process_id
        number = 0
        while True:
            number += 1
            tally = Tally("R19")
            acked: list[str] = []
            with _Load(world, process, acked, f"round {number}") as load:
                time.sleep(world.cx.random.uniform(0.1, 0.5))
                for gateway in world.gateways:
                    _drain(world, tally, gateway, f"{number} {gateway.address}")
                    gateway.start()
                    if replicas > 1:
                        time.sleep(0.3)
            if replicas > 1:
                # Of one gateway alone the calls may fail: nobody else takes them.
                tally.checked += load.calls
                tally.faults += [f"a call failed in a rolling restart: {fault}" for fault in load.faults]
                cx.measure("calls in a rolling restart", load.calls)
                cx.measure("failed calls in a rolling restart", len(load.faults))
            voters = {row["voter"] for row in world.dump().rows("ballot")}
            for voter in acked:
                tally.expect(voter in voters, f"the ballot of {voter} was acked and is gone")
            if tally.faults:
                world.keep()
            yield [tally.finding()]


class _Load:
    """Clients that call all the time, with a retry policy, at any of the gateways."""

    def __init__(self, world: World, process: str, acked: list[str], name: str):
        self._world, self._process, self._acked, self._name = world, process, acked, name
        self._stop = threading.Event()
        self.faults: list[str] = []
        self.calls = 0

    def __enter__(self) -> "_Load":
        addresses = ",".join(gateway.address for gateway in self._world.gateways)
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 1),
            # Else all the addresses are one name, which is none.
            ("grpc.default_authority", "127.0.0.1"),
            ("grpc.service_config", json.dumps(POLICY)),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.insecure_channel(f"ipv4:{addresses}", options)
        self._threads = [
            threading.Thread(target=self._call, args=(number,), daemon=True)
            for number in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._channel.close()

    def _call(self, caller: int) -> None:
        actions = action_pb2_grpc.ActionServiceStub(self._channel)
        bearer = [("authorization", f"Bearer {self._world.token}")]
        number = 0
        while not self._stop.is_set():
            number += 1
            voter = f"{self._name} {caller} {number}"
            request = action_pb2.PerformActionRequest(
                community_id=drive.COMMUNITY,
                action="ballot.cast",
                request_id=voter.replace(" ", "-"),
                parameters=drive.struct(process_id=self._process, voter=voter, choices=["a"]),
            )
            self.calls += 1
            try:
                actions.PerformAction(request, metadata=bearer, timeout=20)
                self._acked.append(voter)
            except grpc.RpcError as error:
                self.faults.append(f"{error.code().name}: {error.details()}")
            self._stop.wait(0.01)


def _drain(world: World, tally: Tally, gateway: Gateway, name: str) -> None:
    """SIGTERM to one gateway, while it is watched and asked."""
    with world.client(gateway) as client, ThreadPoolExecutor(1) as pool:
        health = _Health(client.channel)
        request = event_pb2.WatchEventsRequest(start_at=event_pb2.START_AT_LATEST)
        stream = client.events.WatchEvents(request)
        next(stream)
        health.wait_for(health_pb2.HealthCheckResponse.SERVING)
        slow = pool.submit(_slow_call, client, name)
        # It is on its way to the platform by now.
        time.sleep(SLOW / 3)
        begun = time.monotonic()
        gateway.terminate()
        said = health.wait_for(health_pb2.HealthCheckResponse.NOT_SERVING)
        took = (said or float("inf")) - begun
        world.cx.measure("SIGTERM to NOT_SERVING, ms", took * 1000)
        tally.expect(took <= NOT_SERVING_WITHIN, f"NOT_SERVING after {took:.3f} s")
        ended = _end_of(stream)
        tally.expect(ended == "UNAVAILABLE", f"a stream ended with {ended}")
        answered = slow.result()
        tally.expect(answered == "OK", f"a running call was answered {answered}")
        try:
            code = gateway.child.wait(timeout=DRAIN + 5)
        except Exception:
            code = None
        world.cx.measure("SIGTERM to the end, s", time.monotonic() - begun)
        tally.expect(code == 0, f"the exit code is {code}")
        gateway.kill()


def _slow_call(client, name: str) -> str:
    try:
        drive.perform(
            client, "discourse.create-post", name.replace(" ", "-"), raw=f"slow {name}", topic_id=1
        )
        return "OK"
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"


def _end_of(stream) -> str:
    try:
        for _ in stream:
            pass
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


class _Health:
    """What the health service says, as it says it."""

    def __init__(self, channel: grpc.Channel):
        self._seen: list[tuple[float, int]] = []
        self._call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._seen.append((time.monotonic(), answer.status))
        except grpc.RpcError:
            pass

    def wait_for(self, status: int) -> float | None:
        """When it said so."""
        found = lambda: [at for at, said in self._seen if said == status]
        drive.wait_until(lambda: bool(found()), 5, 0.005)
        return found()[0] if found() else None
