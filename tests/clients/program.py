"""A program of a client as a child process, and the lines of JSON that it prints."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Iterable

from gateway import PATIENCE, environment

# What a program is told beside what the row says.
Settings = dict[str, str]


class Program:
    """A running program. What it waits for fails after PATIENCE, with all that was said."""

    def __init__(self, command: Iterable[str | Path], settings: Settings, log: Path):
        self._command = [str(part) for part in command]
        self._log = log
        self._news = threading.Condition()
        self.lines: list[str] = []
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                self._command,
                env=environment() | settings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # With what a script starts in its turn.
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> list[dict]:
        """The lines so far, each a JSON object."""
        return [json.loads(line) for line in list(self.lines)]

    @property
    def events(self) -> list[dict]:
        """The events so far."""
        return [line for line in self.said if "event_id" in line]

    @property
    def retries(self) -> list[dict]:
        """What it retried so far: code and delay."""
        return [line["retry"] for line in self.said if "retry" in line]

    def until(self, enough: Callable[["Program"], object], patience: float = PATIENCE) -> "Program":
        """Waits until that holds."""
        deadline = time.monotonic() + patience
        with self._news:
            while not enough(self):
                over = not self._reader.is_alive() or time.monotonic() > deadline
                assert not over, f"it did not come to that: {self}"
                self._news.wait(0.2)
        return self

    def until_ready(self) -> "Program":
        """Waits for its first answer: from here on it misses nothing."""
        return self.until(lambda it: any("ready" in line for line in it.said))

    def until_event(self, event_id: str, patience: float = PATIENCE) -> list[str]:
        """Waits for an event, and returns the ids of all up to it."""
        self.until(lambda it: any(e["event_id"] == event_id for e in it.events), patience)
        return [event["event_id"] for event in self.events]

    def until_retry(self) -> "Program":
        """Waits until it has lost the gateway."""
        return self.until(lambda it: it.retries)

    def end(self, patience: float = PATIENCE) -> list[dict]:
        """Waits for its end without a fault, and returns what it said."""
        self.text(patience)
        return self.said

    def text(self, patience: float = PATIENCE) -> str:
        """Waits for its end without a fault, and returns what it printed, JSON or not."""
        code = self._exit(patience)
        assert code == 0, f"it ended with {code}: {self}"
        return "".join(self.lines)

    def error(self, patience: float = PATIENCE) -> dict:
        """Waits for its end with an error, and returns that."""
        code = self._exit(patience)
        assert code == 1 and self.said and "error" in self.said[-1], f"it ended with {code}: {self}"
        return self.said[-1]["error"]

    def stop(self) -> list[dict]:
        """Asks it to end (SIGTERM), which it does at once, and without a fault."""
        self._signal(signal.SIGTERM)
        return self.end(patience=10)

    def kill(self) -> None:
        """Ends it without a word (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self._child.wait()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            pass  # It has ended.

    def _exit(self, patience: float) -> int:
        try:
            code = self._child.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end: {self}") from None
        self._reader.join(PATIENCE)
        return code

    def _read(self) -> None:
        for line in self._child.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def __str__(self) -> str:
        said = "".join(self.lines[-30:])
        errors = self._log.read_text(errors="replace")[-4000:]
        return f"{' '.join(self._command)}\nstdout, its end:\n{said}\nstderr:\n{errors}"
