"""H4: three gateways on one Postgres, every call and every resume at a random one."""

import time
from typing import Iterator

from ..harness import EVERY_RUN, Context, Finding, Tally, harness
from ..load import loaded
from .kill_loop import Watched, without_done

REPLICAS = 3
ITERATIONS = 20
# How long the first of them dawdles inside of its transactions, in milliseconds: a third of
# what is written.
DAWDLE = 20


@harness(
    "H4",
    "replicas",
    required={"R1": 200, "R3": 2000, "R4": EVERY_RUN, "R5": EVERY_RUN, "R6": EVERY_RUN,
              "R7": EVERY_RUN, "R8": EVERY_RUN, "R9": 1000, "R15": 2000},
    databases=["postgres"],
    weight=2.0,
)
def replicas(cx: Context) -> Iterator[list[Finding]]:
    """Sixteen writers at three replicas, one of which is killed now and then."""
    with cx.world(replicas=REPLICAS, start=False) as world:
        world.gateways[0].settings["METAGOV_FAILPOINTS"] = f"before-commit=sleep@{DAWDLE}"
        for gateway in world.gateways:
            gateway.start()
        with loaded(world) as load:
            watched = Watched(world, load)
            load.read()
            load.write({load.posts: 8, load.starts: 5, load.changes: 2, load.failures: 1})
            for _ in range(ITERATIONS):
                time.sleep(cx.random.uniform(0.3, 1.5))
                gateway = cx.random.choice(world.gateways)
                gateway.kill()
                time.sleep(cx.random.uniform(0, 0.3))
                gateway.start()
                yield [*watched.check(), watched.surprises()]
            yield without_done(watched.finish())
