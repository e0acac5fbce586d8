"""The command behind `make proof`."""

import argparse
import math
import sys

from . import harnesses, results, runner, seeded
from .harness import DATABASES


def main() -> int:
    parser = argparse.ArgumentParser(prog="proof", description=__doc__)
    parser.add_argument("--databases", default=",".join(DATABASES), help="which, by comma")
    parser.add_argument("--share", type=float, default=1.0, help="of the release's iterations")
    parser.add_argument("--seconds", type=float, default=math.inf, help="at most, for each harness and database")
    parser.add_argument("--only", default="", help="harnesses, by comma: names or ids")
    parser.add_argument("--seed", type=int, help="of all chance; default the clock")
    parser.add_argument("--bugs", choices=["with", "without", "only"], default="with", help="the seeded bugs")
    parser.add_argument("--bug", default="", help="only these seeded bugs, by comma")
    parser.add_argument("--bug-runs", type=int, default=3, help="how often each bug must be caught")
    parser.add_argument("--list", action="store_true", help="only says what there is")
    line = parser.parse_args()
    chosen = runner.chosen([name for name in line.only.split(",") if name])
    databases = line.databases.split(",")
    if line.list:
        for harness in chosen:
            print(f"{harness.id:4} {harness.name:16} {harness.required} {harness.doc.splitlines()[0]}")
        return 0
    violated = 0
    with runner.Session(line.seed) as session:
        for harness in chosen if line.bugs != "only" else []:
            for database in databases:
                if database not in harness.databases:
                    continue
                state = runner.State.load(runner.state_file(harness, database))
                state = runner.run(session, harness, database, line.share, line.seconds, state)
                violated += state.violated + len(state.broken)
                results.write()
        if line.bugs != "without":
            only = [name for name in line.bug.split(",") if name]
            for caught in seeded.run_all(session, databases, only, line.bug_runs):
                violated += not caught
                results.write()
    print(f"{results.PAGE}: {violated} violated")
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
