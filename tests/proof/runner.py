"""Runs harnesses to a share of the release's iterations, and goes on where it stopped.

What is done is kept after each iteration in `target/proof/state/COMMIT/`, one file for
each harness and database, so an interrupted run loses one iteration at most. The commit is
the last one that changed what is proved or the proof itself, with `+changes` if the work
tree has some.
"""

import functools
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import ROOT, postgres
from .harness import EVERY_RUN, HARNESSES, CannotRun, Context, Finding, Harness, violations
from .server import NotServing

STATE = ROOT / "target" / "proof" / "state"
# What decides about the numbers.
PROVED = ["server", "migrations", "proto", "Cargo.lock", "tests/proof"]
NOT_PROVED = [":!tests/proof/RESULTS.md", ":!tests/proof/mended.toml"]
# After so many failures of the harness itself in a row it is given up.
MAX_BROKEN = 3


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


@functools.cache
def commit() -> str:
    """What is proved, in one word; it stays what it was when this process asked first."""
    paths = ["--", *PROVED, *NOT_PROVED]
    changed = git("status", "--porcelain", *paths)
    return git("log", "-1", "--format=%h", *paths) + ("+changes" if changed else "")


@dataclass
class State:
    """How far a harness is on a database."""

    path: Path | None
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    iterations: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)
    # Why it cannot be run on this machine.
    cannot: str = ""

    @classmethod
    def load(cls, path: Path) -> "State":
        if not path.exists():
            return cls(path)
        return cls(path, **json.loads(path.read_text()))

    def save(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in self.__dict__.items() if k != "path"}
        # Never half a file, whenever this process ends.
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(kept, indent=1))
        new.replace(self.path)

    def add(self, findings: list[Finding], numbers: dict[str, list[float]]) -> None:
        self.iterations += 1
        for it in findings:
            of = self.properties.setdefault(
                it.property, {"done": 0, "checked": 0, "violated": 0, "examples": []}
            )
            of["done"] += it.done
            of["checked"] += it.checked
            of["violated"] += it.violated
            of["examples"] = (of["examples"] + it.examples)[:10]
        for name, values in numbers.items():
            self.numbers.setdefault(name, []).extend(values)
        numbers.clear()

    def done(self, property: str) -> int:
        return self.properties.get(property, {}).get("done", 0)

    def is_complete(self, harness: Harness, share: float) -> bool:
        """Whether the share of each property's iterations is done. One that is checked in
        every run needs one."""
        wanted = {p: max(1, math.ceil(n * share)) for p, n in harness.required.items()}
        return all(self.done(p) >= n for p, n in wanted.items())

    @property
    def violated(self) -> int:
        return sum(of["violated"] for of in self.properties.values())


class Session:
    """One run of the proof: its scratch folder and its Postgres, made when first needed."""

    def __init__(self, seed: int | None = None):
        self.seed = seed if seed is not None else time.time_ns() % 1_000_000_007
        self._folder = ROOT / "target" / "proof" / "run"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="", dir=self._folder))
        self._cluster: postgres.Cluster | None = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_) -> None:
        if self._cluster:
            self._cluster.remove()
        if not any(self.folder.rglob("violated")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def cluster(self, database: str) -> postgres.Cluster | None:
        if database != "postgres":
            return None
        if self._cluster is None:
            self._cluster = postgres.Cluster().create()
        elif not self._cluster.is_running():
            # A harness broke while it had it stopped.
            self._cluster.start()
        return self._cluster

    def context(self, harness: Harness, database: str, **more: Any) -> Context:
        self.seed += 1
        folder = self.folder / f"{harness.name}-{database}-{self.seed}"
        folder.mkdir()
        return Context(database, folder, self.seed, self.cluster(database), **more)


def run(
    session: Session,
    harness: Harness,
    database: str,
    share: float = 1.0,
    seconds: float = math.inf,
    state: State | None = None,
    say: Any = print,
) -> State:
    """Runs a harness until its share is done, or the time is up; what it found."""
    state = state or State(None)
    deadline = time.monotonic() + seconds
    broken = 0
    while not state.is_complete(harness, share) and time.monotonic() < deadline:
        cx = session.context(harness, database, deadline=deadline)
        say(f"== {harness.id} {harness.name} on {database}, seed {session.seed}, at {progress(harness, state, share)}")
        try:
            with closing(harness.run(cx)) as iterations:
                begun = time.monotonic()
                for findings in iterations:
                    state.add(findings, cx.numbers)
                    state.seconds += time.monotonic() - begun
                    begun = time.monotonic()
                    state.save()
                    broken = 0
                    if violations(findings) and cx.worlds:
                        cx.worlds[-1].keep()
                    for line in violations(findings):
                        say(f"VIOLATED by {harness.name} on {database}: {line} (see {cx.folder})")
                    if state.is_complete(harness, share) or begun > deadline:
                        break
        except CannotRun as why:
            state.cannot = str(why)
            say(f"NOT RUN {harness.name} on {database}: {why}")
            break
        except Exception as error:
            broken += 1
            if isinstance(error, NotServing) and error.blamed:
                findings = never_back(harness, error)
                state.add(findings, cx.numbers)
                for line in violations(findings):
                    say(f"VIOLATED by {harness.name} on {database}: {line} (see {cx.folder})")
            else:
                # Not a finding: the harness, or what it needs, is broken.
                state.broken.append(f"{first_line(error)}\n{traceback.format_exc(limit=-3)}")
                state.broken = state.broken[-5:]
                say(f"BROKEN {harness.name} on {database}:\n{traceback.format_exc()}")
            if broken >= MAX_BROKEN:
                break
    state.save()
    return state


def never_back(harness: Harness, error: NotServing) -> list[Finding]:
    """R20: a gateway that was killed does not serve again. R1: if it ended, nobody gets at
    what it had stored."""
    properties = ["R1", "R20"] if error.ended and "R1" in harness.required else ["R20"]
    said = str(error).splitlines()
    return [Finding(it, 1, 1, 1, [f"{said[0]} {said[-1]}"]) for it in properties]


def first_line(error: Exception) -> str:
    """What an exception says, without what it quotes: a gateway's log, for one."""
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[0]


def progress(harness: Harness, state: State, share: float) -> str:
    parts = []
    for property, required in harness.required.items():
        of = "" if required == EVERY_RUN else f"/{math.ceil(required * share)}"
        parts.append(f"{property} {state.done(property)}{of}")
    return ", ".join(parts)


def chosen(only: list[str]) -> list[Harness]:
    """The harnesses with these names or ids; all if none is named."""
    unknown = [o for o in only if not any(o in (h.name, h.id) for h in HARNESSES.values())]
    if unknown:
        sys.exit(f"no harness {', '.join(unknown)}; there are {', '.join(HARNESSES)}")
    return [h for h in HARNESSES.values() if not only or h.name in only or h.id in only]


def state_file(harness: Harness, database: str) -> Path:
    return STATE / commit() / f"{harness.name}-{database}.json"


def median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan
