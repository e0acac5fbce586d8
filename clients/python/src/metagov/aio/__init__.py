"""The same for asyncio: `connect()` makes a client whose calls are awaited."""

from .client import Client, connect
from .watch import Watch

__all__ = ["Client", "Watch", "connect"]
