"""What a harness is, and what it is given.

    @harness("H1", "kill-loop", required={"R1": 1000, "R4": EVERY_RUN})
    def kill_loop(cx: Context) -> Iterator[list[Finding]]:
        with cx.world() as world:
            ...
            yield [Finding("R1", done=1, checked=120, violated=0)]

A harness is a generator: each `yield` ends one iteration and hands over its findings. The
runner counts, stops it when the share of the release's iterations is done or the time is
up, and closes it, so what it started belongs into `with`. If it ends by itself it is begun
again, in a fresh world. `done` counts what the release's number is about (kills, images,
timers), `checked` the single comparisons. The runner also runs harnesses with a seeded bug
(`cx.bug`), which `cx.world` switches on; a harness needs to know nothing of that.
"""

import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

from . import dump, postgres
from .records import Records
from .server import Client, Gateway, NotServing

# The number of a property that has none: it is checked in every run.
EVERY_RUN = 0
# A harness that has less time than this, in seconds, takes part in a sample.
BRIEF = 60.0
# The databases that everything is proved on.
DATABASES = ["sqlite", "postgres"]


@dataclass
class Finding:
    """What one iteration says of one property."""

    property: str
    done: int
    checked: int
    violated: int = 0
    examples: list[str] = field(default_factory=list)


class Tally:
    """Gathers findings of one property while it is checked."""

    def __init__(self, property: str, done: int = 1):
        self.property = property
        self.done = done
        self.checked = 0
        self.faults: list[str] = []

    def expect(self, holds: bool, fault: str) -> bool:
        """One comparison, and what to say if it does not hold."""
        self.checked += 1
        if not holds:
            self.faults.append(fault)
        return holds

    def finding(self) -> Finding:
        return Finding(self.property, self.done, self.checked, len(self.faults), self.faults[:5])


class CannotRun(RuntimeError):
    """What a harness needs is not here, such as root to mount a disk. It says what."""


Run = Callable[["Context"], Iterator[list[Finding]]]


@dataclass
class Harness:
    """A way to break the gateway."""

    id: str
    name: str
    # The release's iterations of each property that it proves.
    required: dict[str, int]
    run: Run
    # What it can run on.
    databases: list[str]
    # Its part of the time that the sample in `make test` has.
    weight: float
    doc: str


HARNESSES: dict[str, Harness] = {}


def harness(
    id: str,
    name: str,
    required: dict[str, int],
    databases: list[str] = DATABASES,
    weight: float = 1.0,
) -> Callable[[Run], Run]:
    """Registers a harness. Without a weight it takes no part in the sample."""

    def register(run: Run) -> Run:
        doc = (run.__doc__ or "").strip()
        HARNESSES[name] = Harness(id, name, required, run, list(databases), weight, doc)
        return run

    return register


class Context:
    """What a harness is given: a database, a folder, chance, and the time it has."""

    def __init__(
        self,
        database: str,
        folder: Path,
        seed: int,
        cluster: postgres.Cluster | None = None,
        bug: str | None = None,
        deadline: float = float("inf"),
    ):
        self.database = database
        self.folder = folder
        self.random = random.Random(seed)
        self.cluster = cluster
        self.bug = bug
        self.deadline = deadline
        # Whether there is so little time that iterations have to be small.
        self.is_brief = deadline - time.monotonic() < BRIEF
        # Measured numbers by name: see `measure`.
        self.numbers: dict[str, list[float]] = {}
        self.worlds: list[World] = []

    @property
    def is_over(self) -> bool:
        """Whether the time is up; for harnesses with long iterations."""
        return time.monotonic() > self.deadline

    def measure(self, name: str, value: float) -> None:
        """Adds to a number of the page, such as "restart to ready, s"."""
        self.numbers.setdefault(name, []).append(value)

    def world(self, replicas: int = 1, start: bool = True, **settings: str) -> "World":
        """A fresh database with gateways on it. Settings are variables without their
        prefix: `event_retention="1m"`."""
        folder = self.folder / f"world-{len(self.worlds) + 1}"
        self.worlds.append(World(self, folder, replicas, start, settings))
        return self.worlds[-1]


class World:
    """One database, the gateways that serve it, and the records of their clients."""

    def __init__(self, cx: Context, folder: Path, replicas: int, start: bool, settings: dict[str, str]):
        if replicas > 1 and cx.database == "sqlite":
            raise ValueError("SQLite has one gateway")
        folder.mkdir(parents=True)
        self.cx = cx
        self.folder = folder
        self.records = Records(folder / "records.jsonl")
        self.postgres_url = cx.cluster.new_database() if cx.database == "postgres" else None
        common = {f"METAGOV_{name.upper()}": value for name, value in settings.items()}
        if self.postgres_url:
            common["METAGOV_DATABASE_URL"] = self.postgres_url
        if cx.bug:
            common["METAGOV_SEEDED_BUG"] = cx.bug
        self.gateways = [Gateway(folder / f"gateway-{i}", dict(common)) for i in range(replicas)]
        self._token: str | None = None
        self._start = start
        self._kept = False

    def __enter__(self) -> "World":
        if self._start:
            try:
                # One after the other: the first one makes the tables and the token.
                for gateway in self.gateways:
                    gateway.start()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *raised) -> None:
        for gateway in self.gateways:
            gateway.kill()
        if any(isinstance(error, NotServing) for error in raised):
            # Its log and its database are all that says why.
            self.keep()
        if not self._kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self) -> None:
        """Has the folder outlive the run: a violation is to be looked at."""
        self._kept = True
        (self.folder / "violated").touch()

    @property
    def gateway(self) -> Gateway:
        """The only one, or the first."""
        return self.gateways[0]

    @property
    def token(self) -> str:
        """The admin's token, which the first gateway that ever started here made."""
        if self._token is None:
            found = [g.data / "admin.token" for g in self.gateways]
            self._token = next(path for path in found if path.exists()).read_text().strip()
        return self._token

    def client(self, gateway: Gateway | None = None, token: str | None = None) -> Client:
        """Stubs for a gateway; for any of the replicas if none is named."""
        gateway = gateway or self.cx.random.choice(self.gateways)
        return Client(gateway.address, token or self.token)

    @property
    def sqlite_file(self) -> Path:
        return self.gateway.data / "metagov.db"

    def dump(self) -> dump.Dump:
        """What the database holds."""
        if self.postgres_url:
            return dump.postgres(self.postgres_url)
        return dump.sqlite(self.sqlite_file)


def violations(findings: list[Finding]) -> list[str]:
    """One line for each property that was violated."""
    return [
        f"{f.property}: {f.violated} of {f.checked}: {'; '.join(f.examples)}"
        for f in findings
        if f.violated
    ]


def as_json(finding: Finding) -> dict[str, Any]:
    return finding.__dict__
