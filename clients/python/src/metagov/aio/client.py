"""The way to a gateway, for asyncio."""

import os
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

import grpc
from grpc import aio

from ..feed import Feed, OnPosition, Start
from ..retry import OnRetry
from ..settings import Settings, settle
from ..v1 import (
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
from .bearer import bearers
from .waiting import wait
from .watch import Watch


def connect(
    endpoint: str | None = None,
    token: str | None = None,
    *,
    ca: str | os.PathLike[str] | None = None,
    insecure_plaintext: bool | None = None,
) -> "Client":
    """Makes a client, as `metagov.connect` does. Call it where an event loop runs."""
    return Client(settle(endpoint, token, ca, insecure_plaintext))


class Client:
    """The services of a gateway, and the helpers, for one event loop."""

    def __init__(self, settings: Settings) -> None:
        """See `connect`."""
        self._settings = settings
        self._channel = dial(settings, bearers(settings.metadata))
        channel = self._channel
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
        """Watches events, for ever: see `metagov.Client.watch` and `Watch`."""
        feed = Feed(filter, Start(after, since, earliest, subscription), heartbeat, on_position)
        return Watch(self._dial, self._settings.metadata, feed, on_retry)

    async def wait_for_process(
        self,
        process_id: str,
        timeout: float | None = None,
        *,
        heartbeat: float = 15.0,
        on_retry: OnRetry | None = None,
    ) -> process_pb2.Process:
        """Waits until a process is done, as `metagov.Client.wait_for_process` does."""
        metadata = self._settings.metadata
        waiting = wait(self._dial, metadata, process_id, timeout, heartbeat, on_retry)
        return await waiting

    async def close(self) -> None:
        """Ends the connection. Watches have their own, and go on."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        """Is itself, until the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        await self.close()

    def __repr__(self) -> str:
        """Where it calls; never with what."""
        return f"<metagov.aio client of {self._settings.target}>"

    @property
    def _dial(self) -> Callable[[], aio.Channel]:
        return lambda: dial(self._settings)


def dial(
    settings: Settings, interceptors: list[aio.ClientInterceptor] | None = None
) -> aio.Channel:
    """A channel that sends the token if it has interceptors for it."""
    if settings.roots is None:
        return aio.insecure_channel(settings.target, settings.options, interceptors=interceptors)
    credentials = grpc.ssl_channel_credentials(settings.roots or None)
    return aio.secure_channel(
        settings.target, credentials, settings.options, interceptors=interceptors
    )
