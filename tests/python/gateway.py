"""The real binary as a child process, with ports and a data folder of its own."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import homes
from metagov.v1 import (
    access_pb2_grpc,
    action_pb2_grpc,
    community_pb2_grpc,
    event_pb2_grpc,
    plugin_pb2_grpc,
    process_pb2_grpc,
    subscription_pb2_grpc,
)

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("METAGOV_BIN", ROOT / "target" / "debug" / "metagov"))

# Long enough for a loaded machine of two cores; nothing here waits this long.
PATIENCE = 30.0


def free_port() -> int:
    """A port that nobody listens on, outside the range the kernel hands out itself. None is
    given twice: who was given one may not listen yet."""
    while True:
        port = next(_PORTS)
        if not is_taken(f"127.0.0.1:{port}"):
            return port


_PORTS = itertools.cycle(random.sample(range(20000, 32768), 12768))


def is_taken(address: str) -> bool:
    """Whether somebody listens there."""
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def environment() -> dict[str, str]:
    """This process's variables without those that would configure a gateway."""
    return {k: v for k, v in os.environ.items() if not k.startswith("METAGOV_")}


def connect(address: str) -> grpc.Channel:
    """A channel without a token."""
    # A proxy of the environment is not meant for the loopback.
    return grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])


class Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
):
    """Puts a token on every call."""

    def __init__(self, token: str):
        self._metadata = [("authorization", f"Bearer {token}")]

    def intercept_unary_unary(self, call, details, request):
        return call(self._with_token(details), request)

    intercept_unary_stream = intercept_unary_unary

    def _with_token(self, details):
        metadata = [*(details.metadata or []), *self._metadata]
        return _Details(
            details.method,
            details.timeout,
            metadata,
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


class _Details(
    namedtuple("_Details", "method timeout metadata credentials wait_for_ready compression"),
    grpc.ClientCallDetails,
):
    """What grpc wants to be told of a call."""


class Gateway:
    """A running `metagov serve`. Restarts keep its ports and its data."""

    def __init__(
        self,
        folder: Path,
        data: str = "data",
        settings: dict[str, str] | None = None,
        kind: str = homes.KIND,
    ):
        self.folder = folder
        self.data = folder / data
        # A Postgres's own, which is dropped in the end; SQLite's is in the data folder.
        self.database = homes.Postgres() if kind == "postgres" else None
        # Variables beside its own.
        self.settings = {} if settings is None else settings
        self.address = f"127.0.0.1:{free_port()}"
        self.public_address = f"127.0.0.1:{free_port()}"
        self.log = folder / "gateway.log"
        self.child = None
        self.line = None
        self.channel = None
        self.token = None

    def __enter__(self) -> "Gateway":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends it for good, and its database with it."""
        self.kill()
        if self.database:
            self.database.drop()

    def start(self) -> None:
        """Starts it and waits until it says that it serves."""
        assert BINARY.exists(), f"{BINARY} is missing: run `make build`, or set METAGOV_BIN"
        for address in (self.address, self.public_address):
            assert not is_taken(address), f"something else listens on {address}: stop it first"
        env = environment() | {
            "METAGOV_LISTEN": self.address,
            "METAGOV_PUBLIC_LISTEN": self.public_address,
            "METAGOV_DATA_DIR": str(self.data),
            "METAGOV_LOG": "info,metagov=debug",
            # Platforms are faked on this machine, over http.
            "METAGOV_ALLOW_HTTP": "true",
            "METAGOV_ALLOW_CIDR": "127.0.0.0/8",
        } | (self.database.settings() if self.database else {}) | self.settings
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [BINARY, "serve"],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.line = self.dial()
        try:
            self._wait_until_serving()
        except BaseException:
            self.kill()
            raise
        self.token = (self.data / "admin.token").read_text().strip()
        self.channel = grpc.intercept_channel(self.line, Bearer(self.token))
        self.access = access_pb2_grpc.AccessServiceStub(self.channel)
        self.communities = community_pb2_grpc.CommunityServiceStub(self.channel)
        self.plugins = plugin_pb2_grpc.PluginServiceStub(self.channel)
        self.actions = action_pb2_grpc.ActionServiceStub(self.channel)
        self.processes = process_pb2_grpc.ProcessServiceStub(self.channel)
        self.events = event_pb2_grpc.EventServiceStub(self.channel)
        self.subscriptions = subscription_pb2_grpc.SubscriptionServiceStub(self.channel)

    def dial(self) -> grpc.Channel:
        """A channel to it, without a token."""
        return connect(self.address)

    def kill(self) -> None:
        """Ends it as a power cut would (SIGKILL)."""
        if self.line:
            self.line.close()
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def terminate(self) -> None:
        """Asks it to drain (SIGTERM), and does not wait."""
        self.child.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Waits for its end."""
        return self.child.wait(timeout=PATIENCE)

    def log_lines(self) -> list[dict]:
        """What it logged: one JSON object a line, since it has no terminal."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _wait_until_serving(self) -> None:
        health = health_pb2_grpc.HealthStub(self.line)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = health.Check(
                    health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=1
                )
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError as error:
                why = error.code()
            else:
                why = answer.status
                time.sleep(0.02)
            gone = self.child.poll() is not None
            if gone or time.monotonic() > deadline:
                log = self.log.read_text(errors="replace")
                raise RuntimeError(f"the gateway does not serve ({why}). Its log:\n{log}")
