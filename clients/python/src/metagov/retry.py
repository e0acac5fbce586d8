"""What is tried again, and when."""

import random
from collections.abc import Callable

from .advice import is_lasting
from .errors import Fault

# Told of each retry: why, and in how many seconds.
OnRetry = Callable[[Fault, float], None]

# In seconds.
SHORTEST = 0.1
LONGEST = 10.0

# A retry may help, whoever says so.
_PASSING = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED"}
# These come from the transport or a proxy, unless the gateway gives a reason.
_OF_THE_WAY = {"CANCELLED", "INTERNAL", "UNKNOWN"}


def may_pass(fault: Fault) -> bool:
    """Whether a retry may cure it."""
    if fault.reason:
        return fault.code in _PASSING and fault.reason != "ERROR_REASON_MESSAGE_TOO_LARGE"
    return not is_lasting(fault.message) and fault.code in _PASSING | _OF_THE_WAY


def patience(heartbeat: float) -> float:
    """After how many seconds of silence a stream is given up."""
    return 2 * heartbeat + 5


class Backoff:
    """How long to wait: twice as long each time, until something has come."""

    def __init__(self) -> None:
        """Begins with the shortest wait."""
        self._wait = SHORTEST

    def reset(self) -> None:
        """Something has come."""
        self._wait = SHORTEST

    def next(self, fault: Fault) -> float:
        """The seconds to wait now: no less than the gateway asks for."""
        wait = self._wait * random.uniform(0.5, 1.0)
        self._wait = min(2 * self._wait, LONGEST)
        return max(wait, fault.retry_delay or 0.0)
