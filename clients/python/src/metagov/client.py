"""The way to a gateway, for threads."""

import os
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

import grpc

from .bearer import Bearer
from .feed import Feed, OnPosition, Start
from .retry import OnRetry
from .settings import Settings, settle
from .v1 import (
    access_pb2_grpc,
    action_pb2_grpc,
    community_pb2_grpc,
    event_pb2,
    event_pb2_grpc,
    identity_pb2_grpc,
    plugin_pb2_grpc,
    process_pb2,
    process_pb2_grpc,
    subscription_pb2_grpc,
)
from .waiting import wait
from .watch import Watch


def connect(
    endpoint: str | None = None,
    token: str | None = None,
    *,
    ca: str | os.PathLike[str] | None = None,
    insecure_plaintext: bool | None = None,
) -> "Client":
    """Makes a client. Nothing is sent yet: the first call opens the connection.

    What is not given is taken from the environment: METAGOV_ENDPOINT (a URL, by default
    http://127.0.0.1:50051; https:// for TLS), METAGOV_TOKEN, METAGOV_CA (a PEM file with who
    vouches for the gateway; by default whom the system trusts), METAGOV_INSECURE_PLAINTEXT
    (`true` lets the token go over http to another machine).

    ValueError names the variable that does not fit.
    """
    return Client(settle(endpoint, token, ca, insecure_plaintext))


class Client:
    """The services of a gateway, and the helpers. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        """See `connect`."""
        self._settings = settings
        self._channel = dial(settings)
        channel = grpc.intercept_channel(self._channel, Bearer(settings.metadata))
        self.access = access_pb2_grpc.AccessServiceStub(channel)
        self.actions = action_pb2_grpc.ActionServiceStub(channel)
        self.communities = community_pb2_grpc.CommunityServiceStub(channel)
        self.events = event_pb2_grpc.EventServiceStub(channel)
        self.identities = identity_pb2_grpc.IdentityServiceStub(channel)
        self.plugins = plugin_pb2_grpc.PluginServiceStub(channel)
        self.processes = process_pb2_grpc.ProcessServiceStub(channel)
        self.subscriptions = subscription_pb2_grpc.SubscriptionServiceStub(channel)

    def watch(
        self,
        filter: event_pb2.EventFilter | None = None,
        *,
        after: str | None = None,
        since: datetime | None = None,
        earliest: bool = False,
        subscription: str | None = None,
        heartbeat: float = 15.0,
        on_position: OnPosition | None = None,
        on_retry: OnRetry | None = None,
    ) -> Watch:
        """Watches events, for ever: see `Watch`.

        Begins after the cursor `after`, at the time `since`, with the `earliest` event that
        is kept, where `subscription` stands (its id), or with what happens from now on.
        `heartbeat` is the longest silence wanted, in seconds, 1 to 300.
        """
        feed = Feed(filter, Start(after, since, earliest, subscription), heartbeat, on_position)
        return Watch(self._dial, self._settings.metadata, feed, on_retry)

    def wait_for_process(
        self,
        process_id: str,
        timeout: float | None = None,
        *,
        heartbeat: float = 15.0,
        on_retry: OnRetry | None = None,
    ) -> process_pb2.Process:
        """Waits until a process is COMPLETED, CANCELLED or FAILED, and returns it.

        Reconnects as `watch` does. TimeoutError if it is not done within `timeout` seconds;
        grpc.RpcError if the gateway refuses, such as NOT_FOUND.
        """
        return wait(self._dial, self._settings.metadata, process_id, timeout, heartbeat, on_retry)

    def close(self) -> None:
        """Ends the connection. Watches have their own, and go on."""
        self._channel.close()

    def __enter__(self) -> Self:
        """Is itself, until the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    def __repr__(self) -> str:
        """Where it calls; never with what."""
        return f"<metagov client of {self._settings.target}>"

    @property
    def _dial(self) -> Callable[[], grpc.Channel]:
        return lambda: dial(self._settings)


def dial(settings: Settings) -> grpc.Channel:
    """A channel that does not send the token by itself."""
    if settings.roots is None:
        return grpc.insecure_channel(settings.target, settings.options)
    credentials = grpc.ssl_channel_credentials(settings.roots or None)
    return grpc.secure_channel(settings.target, credentials, settings.options)
