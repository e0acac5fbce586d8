"""Writes the page of numbers, `RESULTS.md`, from what is kept of the runs."""

import json
import platform
import statistics
import sys
import tomllib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Iterator

from . import ROOT, runner, seeded
from .harness import DATABASES, EVERY_RUN, HARNESSES, Harness

PAGE = ROOT / "tests" / "proof" / "RESULTS.md"
MENDED = ROOT / "tests" / "proof" / "mended.toml"

# The promises, in the order and the words of the page.
PROPERTIES = {
    "R1": "stored before 2xx",
    "R2": "no silent poison",
    "R3": "one event a delivery",
    "R4": "ordered",
    "R5": "without gaps",
    "R6": "without repeats",
    "R7": "whole",
    "R8": "a bookmark is true",
    "R9": "resumable anywhere",
    "R10": "honest retention",
    "R11": "acknowledged is durable",
    "R12": "lag is exact",
    "R13": "bounded memory",
    "R14": "an action once, or known",
    "R15": "request ids",
    "R16": "state machine",
    "R17": "timers fire once",
    "R18": "exact tally",
    "R19": "graceful drain",
    "R20": "ready after a crash",
    "R21": "disk full",
    "R22": "clock jumps",
    "R23": "database outage",
    "R24": "isolation",
    "R25": "upgrade",
    "R26": "backup",
}
# Proved by tests of the suite rather than by a harness.
ELSEWHERE = {"R25": "tests of the upgrade", "R26": "tests of the backup"}


def write() -> None:
    """Writes the page anew."""
    PAGE.write_text("\n".join(page()) + "\n")


def page() -> Iterator[str]:
    states = kept_states()
    yield "# The proof, in numbers"
    yield ""
    yield "Written by `make proof`; not edited by hand. What the properties say and how each harness works"
    yield "stands in the modules of this folder. *Done* counts kills, images, timers and so on, *checked*"
    yield "single comparisons. *Bound* is 3/n, the upper 95 % bound on the rate of violations if none was seen."
    yield "Of R20, *ready* has the million events; the logs of the others are short."
    yield ""
    yield from circumstances(states)
    yield ""
    yield "## Properties"
    yield ""
    yield from properties(states)
    yield ""
    yield "## Not run"
    yield ""
    yield from not_run(states)
    yield ""
    yield "## Measured"
    yield ""
    yield from measured(states)
    yield ""
    yield "## Seeded bugs"
    yield ""
    yield "Mistakes that somebody could have made, each switched on in the proof's build."
    yield "*Iterations* is the median until the property was seen violated."
    yield ""
    yield from bugs()
    yield ""
    yield "## Found broken, and mended"
    yield ""
    yield from mended()


States = dict[tuple[str, str], runner.State]


def kept_states() -> States:
    found = {}
    for harness in HARNESSES.values():
        for database in DATABASES:
            file = runner.state_file(harness, database)
            if file.exists():
                found[harness.name, database] = runner.State.load(file)
    return found


def circumstances(states: States) -> Iterator[str]:
    seconds = sum(state.seconds for state in states.values())
    with open("/proc/cpuinfo") as cpus:
        models = [line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")]
    with open("/proc/meminfo") as memory:
        gib = int(next(memory).split()[1]) / (1 << 20)
    command = " ".join(["python -m proof", *sys.argv[1:]])
    yield f"- Machine: {len(models)} × {models[0] if models else platform.machine()}, {gib:.0f} GiB, Linux {platform.release()}"
    yield f"- Commit: {runner.commit()}"
    yield f"- Date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    yield f"- Last command: `{command}`"
    yield f"- Time in harnesses: {seconds / 60:.0f} min"


def properties(states: States) -> Iterator[str]:
    yield "| | property | harness | required | " + " | ".join(
        f"{d}: done | checked | violated | bound" for d in DATABASES
    ) + " |"
    yield "|---" * (4 + 4 * len(DATABASES)) + "|"
    for property, words in PROPERTIES.items():
        for harness in HARNESSES.values():
            required = harness.required.get(property)
            if required is None and not is_violated(harness, property, states):
                continue
            cells = [property, words, f"{harness.id} {harness.name}"]
            cells.append(often(required))
            for database in DATABASES:
                cells += of_database(harness, database, property, states)
            yield "| " + " | ".join(cells) + " |"


def often(required: int | None) -> str:
    """How many iterations a release takes; nothing for what only came to light."""
    if required is None:
        return "in passing"
    return "every run" if required == EVERY_RUN else f"{required:,}"


def is_violated(harness: Harness, property: str, states: States) -> bool:
    """Whether a harness found it broken, be it there for that or not."""
    found = [state for (name, _), state in states.items() if name == harness.name]
    return any(state.properties.get(property, {}).get("violated") for state in found)


def of_database(harness: Harness, database: str, property: str, states: States) -> list[str]:
    if database not in harness.databases:
        return ["does not apply", "", "", ""]
    of = states.get((harness.name, database))
    of = of and of.properties.get(property)
    if not of or not (of["done"] or of["violated"]):
        return ["not run", "", "", ""]
    is_bound = of["violated"] == 0 and of["checked"] > 0
    bound = f"{3 / of['done']:.2g}" if is_bound else "–"
    violated = f"**{of['violated']:,}**" if of["violated"] else "0"
    return [f"{of['done']:,}", f"{of['checked']:,}", violated, bound]


def not_run(states: States) -> Iterator[str]:
    """Everything that a reader might think was run."""
    lines = []
    for property, words in PROPERTIES.items():
        proving = [h for h in HARNESSES.values() if property in h.required]
        if property in ELSEWHERE:
            lines.append(f"- {property} {words}: {ELSEWHERE[property]}, no harness")
        elif not proving:
            lines.append(f"- {property} {words}: no harness")
        for harness in proving:
            for database in harness.databases:
                state = states.get((harness.name, database))
                done = state.done(property) if state else 0
                required = max(1, harness.required[property])
                where = f"- {property} {words}, {harness.id} {harness.name} on {database}"
                if done == 0:
                    why = f": {state.cannot}" if state and state.cannot else ""
                    lines.append(f"{where}: not run{why}")
                elif done < required:
                    lines.append(f"{where}: {done:,} of {required:,} ({done / required:.0%})")
    for (name, database), state in states.items():
        for trace in state.broken:
            first = trace.strip().splitlines()[0][:200]
            lines.append(f"- {name} on {database} was broken off once: `{first}`")
    yield from lines or ["Nothing."]


def measured(states: States) -> Iterator[str]:
    names = sorted({name for state in states.values() for name in state.numbers})
    if not names:
        yield "Nothing yet."
        return
    yield "| number | database | n | median | p99 | most |"
    yield "|---|---|---|---|---|---|"
    for name in names:
        for database in DATABASES:
            values = [
                value
                for (_, of), state in states.items()
                if of == database
                for value in state.numbers.get(name, [])
            ]
            if values:
                values.sort()
                p99 = values[min(len(values) - 1, int(len(values) * 0.99))]
                numbers = [statistics.median(values), p99, values[-1]]
                yield f"| {name} | {database} | {len(values)} | " + " | ".join(f"{n:.4g}" for n in numbers) + " |"


def bugs() -> Iterator[str]:
    yield "| bug | what it does | harness | property | " + " | ".join(
        f"{d}: caught | iterations" for d in DATABASES
    ) + " |"
    yield "|---" * (4 + 2 * len(DATABASES)) + "|"
    for bug in seeded.BUGS:
        harness = HARNESSES.get(bug.harness)
        id = harness.id if harness else "?"
        cells = [bug.name, bug.what, f"{id} {bug.harness}", ", ".join(bug.properties)]
        for database in DATABASES:
            file = runner.STATE / runner.commit() / f"bug-{bug.name}-{database}.json"
            if database not in bug.databases:
                cells += ["does not apply", ""]
            elif not file.exists():
                cells += ["not run", ""]
            else:
                kept: dict[str, Any] = json.loads(file.read_text())
                runs = len(kept["caught"]) + kept["missed"]
                cells.append(f"{len(kept['caught'])} of {runs}" + (" **missed**" if kept["missed"] else ""))
                cells.append(f"{statistics.median(kept['caught']):g}" if kept["caught"] else "–")
        yield "| " + " | ".join(cells) + " |"


def mended() -> Iterator[str]:
    """The list kept by hand in `mended.toml`."""
    entries = tomllib.loads(MENDED.read_text()).get("mended", []) if MENDED.exists() else []
    if not entries:
        yield "Nothing yet."
        return
    yield "| property | what was broken | how it was found | what catches it now |"
    yield "|---|---|---|---|"
    for it in entries:
        yield f"| {it['property']} | {it['broken']} | {it['found']} | {it['caught_by']} |"
