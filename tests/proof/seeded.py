"""The seeded bugs: what each one does, and the harness that has to catch it.

The proof's build of the server has them all; `METAGOV_SEEDED_BUG` switches one on as it
starts (`server/src/proof.rs`). A bug is run until the property that it breaks is
violated; the number of iterations it takes is what justifies the loops of the release. To
add one: a variant there with its effect where it belongs, and a line here.
"""

import json
import statistics
import traceback
from dataclasses import dataclass
from typing import Any, Iterator

from . import runner
from .harness import DATABASES, HARNESSES


@dataclass(frozen=True)
class Bug:
    """A mistake that somebody could have made."""

    name: str
    what: str
    harness: str
    # Any of these has to be violated.
    properties: tuple[str, ...]
    owner: str
    databases: tuple[str, ...] = tuple(DATABASES)
    # After so many iterations it counts as not caught.
    patience: int = 50


BUGS: list[Bug] = [
    Bug(
        "answer-before-commit",
        "A platform is told 2xx before the commit.",
        "failpoints", ("R1",), "proof",
    ),
    Bug(
        "inclusive-resume",
        "A stream goes on with the event of its cursor, not after it.",
        "cut", ("R6", "R4", "R9"), "proof",
    ),
    Bug(
        "bookmark-before-send",
        "A bookmark names the head of the log instead of the place that was read.",
        "bookmarks", ("R8", "R5"), "proof",
    ),
    Bug(
        "no-bookmark",
        "A filtered stream for which nothing matches does not get on.",
        "bookmarks", ("R8",), "proof",
    ),
    Bug(
        "trim-without-check",
        "Rows that are missing after a trim are passed over.",
        "trim", ("R10",), "proof",
    ),
    Bug(
        "cut-inside-change",
        "A batch ends wherever it is full.",
        "whole", ("R7",), "proof",
    ),
    Bug(
        "position-before-rollback",
        "Positions are taken before it is known whether the change is good.",
        "cut", ("R5", "R9"), "proof",
    ),
    Bug(
        "sequence",
        "Positions are given out outside of the transaction, as a sequence does.",
        "replicas", ("R5", "R9"), "proof", ("postgres",),
    ),
    Bug(
        "no-poll",
        "Other replicas' commits are heard of by notification alone.",
        "unheard", ("R5",), "proof", ("postgres",),
    ),
    Bug(
        "acknowledge-in-memory",
        "An acknowledgement is kept in memory, and written down some time.",
        "subscriptions", ("R11",), "proof",
    ),
    Bug(
        "lag-by-positions",
        "The lag is a difference of positions.",
        "subscriptions", ("R12",), "proof",
    ),
    Bug(
        "repeat-by-id",
        "A repeat is known by the id in a header that nobody signed.",
        "kill-loop", ("R3",), "proof",
    ),
    Bug(
        "drop-poison",
        "A delivery that cannot be processed is dropped.",
        "poison", ("R2",), "proof",
    ),
    Bug(
        "forget-requests",
        "Answers to request ids are not kept.",
        "kill-loop", ("R15",), "proof",
    ),
    Bug(
        "lazy-sync",
        "Commits do not wait for the disk.",
        "power-loss", ("R1",), "proof",
    ),
    Bug(
        "keep-connection",
        "A connection that a full disk left in a transaction is used again.",
        "disk-full", ("R21",), "proof", databases=("sqlite",), patience=10,
    ),
    Bug(
        "retry-unknown",
        "An action whose outcome is unknown is tried again.",
        "hostile-platform", ("R14",), "proof",
    ),
    Bug(
        "call-before-claim",
        "A claim is forgotten before the platform is called.",
        "hostile-platform", ("R14",), "proof",
    ),
    Bug(
        "silent-transition",
        "A cancelled process has no event.",
        "histories", ("R16",), "proof",
    ),
    Bug(
        "no-fencing",
        "The effect of a lease does not check that it still holds.",
        "timers", ("R17",), "proof", databases=("postgres",),
    ),
    Bug(
        "local-clock",
        "Timers go by this machine's clock.",
        "clock", ("R22",), "proof", databases=("postgres",),
    ),
    Bug(
        "no-recount",
        "A voter's later ballot is counted beside the earlier one.",
        "votes", ("R18",), "proof",
    ),
    Bug(
        "late-ballot",
        "Ballots are taken after the close.",
        "votes", ("R18",), "proof",
    ),
    Bug(
        "any-community",
        "One kind of id is looked up without its community.",
        "canaries", ("R24",), "proof", patience=120,
    ),
    Bug(
        "no-drain",
        "A drain cuts running calls off.",
        "drain", ("R19",), "proof",
    ),
    Bug(
        "eager-stream",
        "A stream is read ahead of its reader, into memory.",
        "slow-reader", ("R13",), "proof", patience=5,
    ),
]


def run_all(
    session: runner.Session, databases: list[str], only: list[str], runs: int
) -> Iterator[bool]:
    """Runs each bug on each database until it is caught, several times; keeps how long
    that took. Whether each was."""
    for bug in BUGS:
        for database in databases:
            if (only and bug.name not in only) or database not in bug.databases:
                continue
            file = runner.STATE / runner.commit() / f"bug-{bug.name}-{database}.json"
            kept = json.loads(file.read_text()) if file.exists() else {"caught": [], "missed": 0}
            while len(kept["caught"]) + kept["missed"] < runs:
                took = catch(session, bug, database)
                if took is None:
                    kept["missed"] += 1
                else:
                    kept["caught"].append(took)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(kept))
            print(f"-- {bug.name} on {database}: {said(kept)}")
            yield kept["missed"] == 0


def catch(session: runner.Session, bug: Bug, database: str) -> int | None:
    """After how many iterations the bug was caught; nothing if its patience ended."""
    harness = HARNESSES[bug.harness]
    iterations = broken = 0
    while iterations < bug.patience and broken < runner.MAX_BROKEN:
        cx = session.context(harness, database, bug=bug.name)
        before = iterations
        run = harness.run(cx)
        try:
            for findings in run:
                iterations += 1
                if any(f.violated and f.property in bug.properties for f in findings):
                    return iterations
                if iterations >= bug.patience:
                    break
        except Exception:
            # A harness that breaks has caught nothing.
            print(f"BROKEN {harness.name} with {bug.name}:\n{traceback.format_exc()}")
        finally:
            run.close()
        broken = broken + 1 if iterations == before else 0
    return None


def said(kept: dict[str, Any]) -> str:
    """What became of a bug, in a few words."""
    if not kept["caught"]:
        return "NOT CAUGHT"
    median = statistics.median(kept["caught"])
    text = f"caught {len(kept['caught'])} of {len(kept['caught']) + kept['missed']}"
    return f"{text}, median {median:g} iterations"
