"""The gateway as a process that can be killed, restarted, paused and replicated."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway import free_port, is_taken
from metagov.v1 import (
    access_pb2_grpc,
    action_pb2_grpc,
    community_pb2_grpc,
    event_pb2_grpc,
    identity_pb2_grpc,
    plugin_pb2_grpc,
    process_pb2_grpc,
    subscription_pb2_grpc,
)

from . import ROOT

BINARY = Path(os.environ.get("METAGOV_PROOF_BIN", ROOT / "target" / "proof" / "metagov"))
# How long a start may take on a loaded machine before it counts as hung.
PATIENCE = 30.0
# Every replica of a world holds the same key.
MASTER_KEY = "5e" * 32

STUBS = {
    "access": access_pb2_grpc.AccessServiceStub,
    "actions": action_pb2_grpc.ActionServiceStub,
    "communities": community_pb2_grpc.CommunityServiceStub,
    "events": event_pb2_grpc.EventServiceStub,
    "identities": identity_pb2_grpc.IdentityServiceStub,
    "plugins": plugin_pb2_grpc.PluginServiceStub,
    "processes": process_pb2_grpc.ProcessServiceStub,
    "subscriptions": subscription_pb2_grpc.SubscriptionServiceStub,
}


class NotServing(RuntimeError):
    """The gateway ended, or did not serve in time. Whether it ended, and whether it is to
    blame: one that served before has to come back by itself."""

    def __init__(self, why: str, ended: bool = False, blamed: bool = False):
        super().__init__(why)
        self.ended = ended
        self.blamed = blamed


def is_busy() -> bool:
    """Whether others keep this machine busy, too: more wants to run than the proof's own
    few processes."""
    return os.getloadavg()[0] > 3 * (os.cpu_count() or 1)


class Client:
    """The stubs of one address. A channel of its own, so that a dead one is not kept."""

    def __init__(self, address: str, token: str, more: Sequence[tuple[str, Any]] = ()):
        options = [
            ("grpc.enable_http_proxy", 0),
            # A gateway that comes back is noticed at once.
            ("grpc.initial_reconnect_backoff_ms", 20),
            ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 100),
            ("grpc.use_local_subchannel_pool", 1),
            *more,
        ]
        self.channel = grpc.insecure_channel(address, options)
        self.token = token
        bearer = _Bearer(token)
        channel = grpc.intercept_channel(self.channel, bearer)
        for name, stub in STUBS.items():
            setattr(self, name, stub(channel))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.channel.close()


class _Details(grpc.ClientCallDetails):
    """What grpc wants to be told of a call."""

    def __init__(self, details, metadata):
        self.method = details.method
        self.timeout = details.timeout
        self.metadata = metadata
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Puts a token on every call."""

    def __init__(self, token: str):
        self._bearer = [("authorization", f"Bearer {token}")]

    def intercept_unary_unary(self, call, details, request):
        metadata = [*(details.metadata or []), *self._bearer]
        return call(_Details(details, metadata), request)

    intercept_unary_stream = intercept_unary_unary


class Gateway:
    """One `metagov serve`. Restarts keep its ports and its data folder."""

    def __init__(self, folder: Path, settings: dict[str, str]):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.settings = settings
        self.address = f"127.0.0.1:{free_port()}"
        self.public_address = f"127.0.0.1:{free_port()}"
        self.log = folder / "gateway.log"
        self.child: subprocess.Popen | None = None
        # How long the last start took until it served.
        self.start_seconds = 0.0
        self._has_served = False

    def start(self, wait: bool = True, **settings: str) -> "Gateway":
        """Starts it with settings beside its own, and waits until it serves."""
        assert BINARY.exists(), f"{BINARY} is missing: run `make breakable`, or set METAGOV_PROOF_BIN"
        own = {k: v for k, v in os.environ.items() if not k.startswith("METAGOV_")}
        env = own | {
            "METAGOV_LISTEN": self.address,
            "METAGOV_PUBLIC_LISTEN": self.public_address,
            "METAGOV_DATA_DIR": str(self.data),
            "METAGOV_LOG": "info,metagov=info",
            "METAGOV_MASTER_KEY": MASTER_KEY,
            # Platforms are faked on this machine, over http.
            "METAGOV_ALLOW_HTTP": "true",
            "METAGOV_ALLOW_CIDR": "127.0.0.0/8",
            "METAGOV_HOOK_RATE": "100000",
        } | self.settings | settings
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.command(), env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if wait:
            self.wait_until_serving()
            self.start_seconds = time.monotonic() - begun
            self._has_served = True
        return self

    def command(self) -> list[str]:
        """What is run; a harness may put something before it."""
        return [str(BINARY), "serve"]

    @property
    def is_alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def kill(self) -> None:
        """SIGKILL, and waits until the kernel is done with it."""
        if self.child is not None:
            if self.child.poll() is None:
                self.child.kill()
            self.child.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.child.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: asks it to drain, and does not wait."""
        self.child.send_signal(signal.SIGTERM)

    def memory(self) -> int:
        """What the process holds, in bytes (RSS)."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        return 0

    def log_lines(self) -> list[dict[str, Any]]:
        """What it logged, as far as that is JSON."""
        lines = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"message": line})
        return lines

    def wait_until_serving(self, patience: float = PATIENCE) -> None:
        """Returns once its health says SERVING."""
        deadline = time.monotonic() + patience
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.initial_reconnect_backoff_ms", 10),
            ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 20),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        with grpc.insecure_channel(self.address, options) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while True:
                try:
                    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                except grpc.RpcError:
                    pass
                if not self.is_alive or time.monotonic() > deadline:
                    raise self._not_serving(patience)
                time.sleep(0.01)

    def _not_serving(self, patience: float) -> NotServing:
        """Why it does not serve, with the end of its log."""
        code = self.child.poll()
        ended = code is not None
        if ended:
            why = f"the gateway ended with {code} instead of serving"
            # Neither whoever killed it nor a stranger at its address is its own fault.
            foreign = code == -signal.SIGKILL or is_taken(self.address) or is_taken(self.public_address)
        else:
            why = f"the gateway does not serve after {patience:g} s"
            foreign = is_busy()
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        blamed = self._has_served and not foreign
        return NotServing(f"{why}. Its log ends:\n{tail}", ended, blamed)
