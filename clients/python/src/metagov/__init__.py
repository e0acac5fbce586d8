"""Drivers for Metagov, a governance gateway.

`connect()` makes a client for threads, `metagov.aio.connect()` one for asyncio. Both have the
stubs of all services, `watch` and `wait_for_process`; `error` reads what they raise, and
`to_struct` and `from_struct` carry JSON. The messages are in `metagov.v1`.
"""

from . import aio
from .client import Client, connect
from .errors import Fault, error
from .structs import Json, from_struct, from_value, to_struct, to_value
from .watch import Watch

__version__ = "0.1.0"

__all__ = [
    "Client",
    "Fault",
    "Json",
    "Watch",
    "aio",
    "connect",
    "error",
    "from_struct",
    "from_value",
    "to_struct",
    "to_value",
]
