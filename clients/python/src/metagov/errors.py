"""What went wrong, in one shape for every way to fail."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from .advice import advise

# Of the reasons that are the gateway's own: see metagov/v1/error.proto.
DOMAIN = "metagov.org"


@dataclass(frozen=True)
class Fault:
    """Why something failed. Branch on `code` first, on `reason` if you must."""

    # The canonical name of the gRPC code, such as "NOT_FOUND".
    code: str
    # For people.
    message: str
    # The name of a value of metagov.v1.ErrorReason, or "" if it is not the gateway's.
    reason: str = ""
    # What is wrong with which field of the request: path → description.
    fields: dict[str, str] = field(default_factory=dict)
    # What the reason's comment in error.proto says, such as earliest_cursor.
    metadata: dict[str, str] = field(default_factory=dict)
    # In how many seconds to try again; None if the gateway did not say.
    retry_delay: float | None = None

    @property
    def advice(self) -> str:
        """What to do, in one sentence; "" where the message says all there is."""
        return advise(self.code, self.reason, self.message)


def error(exception: BaseException) -> Fault:
    """Reads what a call, a helper or `connect` has raised.

    A `grpc.RpcError`, sync or asyncio, is read with the details that the gateway sends.
    TimeoutError is DEADLINE_EXCEEDED, ValueError INVALID_ARGUMENT, all else UNKNOWN.
    """
    if isinstance(exception, grpc.RpcError):
        # Both kinds of error are calls, too, which the base class does not say.
        return _of_call(cast(Any, exception))
    if isinstance(exception, TimeoutError):
        return Fault("DEADLINE_EXCEEDED", str(exception))
    if isinstance(exception, ValueError):
        return Fault("INVALID_ARGUMENT", str(exception))
    return Fault("UNKNOWN", str(exception))


def _of_call(call: Any) -> Fault:  # noqa: ANN401
    info, bad, retry = _details(call.trailing_metadata() or ())
    ours = info.domain == DOMAIN
    return Fault(
        code=call.code().name,
        message=call.details() or "",
        reason=info.reason if ours else "",
        fields={violation.field: violation.description for violation in bad.field_violations},
        metadata=dict(info.metadata) if ours else {},
        retry_delay=retry.retry_delay.ToNanoseconds() / 1e9 if retry else None,
    )


Details = tuple[
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo | None,
]


def _details(trailers: Iterable[tuple[str, str | bytes]]) -> Details:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry, told = error_details_pb2.RetryInfo(), False
    for detail in _status(trailers).details:
        detail.Unpack(info)
        detail.Unpack(bad)
        told = detail.Unpack(retry) or told
    # A delay of zero is one, too.
    return info, bad, retry if told else None


def _status(trailers: Iterable[tuple[str, str | bytes]]) -> status_pb2.Status:
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break  # Not the gateway's: whoever is on the way may send anything.
    return status_pb2.Status()
