"""The proof: programs that break a running gateway, and a checker that says what held.

Nothing here knows the server's code. A *harness* (`harnesses/`) drives real processes
over gRPC and HTTP, kills them, and keeps *records* (`records.py`): a line before each
call and one after it. Afterwards the *checker* (`checker.py`) compares the records with
a *dump* read straight from the database (`dump.py`), and says for each property how much
was checked and how much of that was violated. `seeded.py` lists the bugs that can be
switched on in the proof's build, each of which some harness has to catch.

`python -m proof --help` (with `tests` as the place to look for modules) is the command
behind `make proof`; `test_sample.py` is the part of it that `make test` runs.
Read `harness.py` first, then `harnesses/kill_loop.py`.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import stubs  # noqa: E402


def are_stale() -> bool:
    """Whether the stubs are older than the contract. They are not made anew for nothing:
    two runs at once must not take them from each other."""
    made = stubs.OUT / "metagov" / "v1" / "event_pb2.py"
    contract = (ROOT / "proto").glob("metagov/v1/*.proto")
    return not made.exists() or made.stat().st_mtime < max(p.stat().st_mtime for p in contract)


if are_stale():
    stubs.generate()
sys.path.insert(0, str(stubs.OUT))
