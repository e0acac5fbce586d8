"""The part of the proof that `make test` runs: every harness on every database, within
minutes, and a few of the seeded bugs, each of which has to be caught.

`make proof` runs the numbers of a release. Here a harness that finds nothing broken in its
time has passed; what it did is printed.
"""

import os

import pytest

from proof import harnesses, runner, seeded  # noqa: F401
from proof.harness import DATABASES, HARNESSES

# What all harnesses on all databases have together, in seconds; starts come on top.
TIME = float(os.environ.get("METAGOV_PROOF_SECONDS", "150"))
# Bugs that are caught at once, so that the sample is not spent on them.
BUGS = ["repeat-by-id", "inclusive-resume", "answer-before-commit", "forget-requests"]

CASES = [
    (harness, database)
    for harness in HARNESSES.values()
    for database in harness.databases
    if harness.weight > 0
]
WEIGHT = sum(harness.weight for harness, _ in CASES)


@pytest.fixture(scope="module")
def session():
    with runner.Session() as running:
        yield running


@pytest.mark.parametrize(
    "harness, database", CASES, ids=[f"{harness.name}-{database}" for harness, database in CASES]
)
def test_nothing_is_violated(session, harness, database):
    seconds = TIME * harness.weight / WEIGHT
    # A share of the release that no sample reaches: time decides.
    state = runner.run(session, harness, database, share=0.1, seconds=seconds)
    print(runner.progress(harness, state, 1.0))
    if state.cannot:
        pytest.skip(state.cannot)
    violated = {name: of["examples"] for name, of in state.properties.items() if of["violated"]}
    assert not violated
    assert not state.broken
    assert state.iterations > 0, "not one iteration in its time"


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_is_caught(session, name):
    bug = next(bug for bug in seeded.BUGS if bug.name == name)
    assert seeded.catch(session, bug, DATABASES[0]) is not None
