"""Puts the token on every call."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import grpc

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Metadata = tuple[tuple[str, str], ...]


class _Details(NamedTuple):
    """What grpc wants to be told of a call."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _CallDetails(_Details, grpc.ClientCallDetails):  # type: ignore[misc]
    pass


class Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends this metadata with every call, beside the call's own."""

    def __init__(self, metadata: Metadata) -> None:
        """Takes what to send."""
        self._metadata = metadata

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Request], Answer],
        client_call_details: grpc.ClientCallDetails,
        request: Request,
    ) -> Answer:
        """As grpc wants it."""
        return continuation(self._with_token(client_call_details), request)

    intercept_unary_stream = intercept_unary_unary

    def _with_token(self, call: grpc.ClientCallDetails) -> grpc.ClientCallDetails:
        metadata = [*(call.metadata or ()), *self._metadata]
        return _CallDetails(
            call.method,
            call.timeout,
            metadata,
            call.credentials,
            call.wait_for_ready,
            call.compression,
        )
