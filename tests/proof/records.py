"""What a client of the gateway knows: a line before each call, and a line after it.

A line is a JSON object. `at` is the monotonic time in seconds, `call` names what is
called, `id` is the call's own, `phase` is "intent", then "ack" or "fail", or neither if
the client or the gateway did not live to see the answer. What a stream delivers is
recorded with the phase "got".
"""

import itertools
import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import grpc


class Records:
    """A file of lines, which any number of threads append to."""

    def __init__(self, path: Path):
        self.path = path
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()
        self._ids = itertools.count(1)

    def write(self, phase: str, call: str, **more: Any) -> None:
        """Appends a line."""
        line = json.dumps({"at": time.monotonic(), "phase": phase, "call": call, **more})
        with self._lock:
            self._file.write(line + "\n")

    @contextmanager
    def call(self, call: str, **more: Any) -> Iterator[dict[str, Any]]:
        """Records a call: what it wants before it, and how it ended after it. What is put
        into the dictionary goes with the "ack". A failure of the gateway is recorded and
        swallowed, since harnesses cause them; anything else is a fault of the harness."""
        number = next(self._ids)
        self.write("intent", call, id=number, **more)
        answer: dict[str, Any] = {}
        try:
            yield answer
        except grpc.RpcError as error:
            self.write("fail", call, id=number, **more, why=error.code().name)
        except OSError as error:
            self.write("fail", call, id=number, **more, why=type(error).__name__)
        else:
            self.write(answer.pop("phase", "ack"), call, id=number, **more, **answer)

    def clear(self) -> None:
        """Forgets what was recorded."""
        with self._lock:
            self._file.truncate(0)

    def read(self) -> list[dict[str, Any]]:
        """All lines so far. The last one may be torn if this process was killed."""
        with self._lock:
            self._file.flush()
        return read(self.path)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of records."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            pass
    return lines


def acked(records: list[dict[str, Any]], call: str) -> list[dict[str, Any]]:
    """The calls of a kind that were answered well."""
    return [line for line in records if line["phase"] == "ack" and line["call"] == call]
