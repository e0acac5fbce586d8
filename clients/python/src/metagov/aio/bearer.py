"""Puts the token on every call."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from grpc import aio

from ..bearer import Metadata

Request = TypeVar("Request")
Response = TypeVar("Response")


def bearers(metadata: Metadata) -> list[aio.ClientInterceptor]:
    """What sends this metadata with every call, beside the call's own."""
    # grpc takes an interceptor for the first kind of call that it fits, and for no other.
    return [_Unary(metadata), _Streams(metadata)]


Unary: TypeAlias = aio.UnaryUnaryCall[Request, Response]
Stream: TypeAlias = aio.UnaryStreamCall[Request, Response]


class _Bearer:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def _with_token(self, call: aio.ClientCallDetails) -> aio.ClientCallDetails:
        metadata = aio.Metadata(*(call.metadata or ()), *self._metadata)
        return aio.ClientCallDetails(
            call.method, call.timeout, metadata, call.credentials, call.wait_for_ready
        )


class _Unary(_Bearer, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, Request], Awaitable[Unary[Request, Response]]
        ],
        client_call_details: aio.ClientCallDetails,
        request: Request,
    ) -> Unary[Request, Response]:
        return await continuation(self._with_token(client_call_details), request)


class _Streams(_Bearer, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, Request], Awaitable[Stream[Request, Response]]
        ],
        client_call_details: aio.ClientCallDetails,
        request: Request,
    ) -> Stream[Request, Response]:
        return await continuation(self._with_token(client_call_details), request)
