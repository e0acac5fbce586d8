"""R8: what an empty batch says is true, also when time passes between read and send."""

import time
from typing import Iterator

from ..harness import EVERY_RUN, Context, Finding, harness
from ..load import loaded
from .kill_loop import Watched, without_done

ITERATIONS, SECONDS = 10, 3.0
# How long a stream dawdles with what it has read, in milliseconds.
DAWDLE = 40
# Many readers of little: most batches are bookmarks.
READERS = {
    f"{name}-{number}": wanted
    for number in range(4)
    for name, wanted in {
        "processes": {"communities": ["garden"], "kinds": ["process"]},
        "nothing": {"communities": ["garden"], "types": ["discourse.never"]},
    }.items()
}


@harness("H1", "bookmarks", required={"R6": EVERY_RUN, "R8": 1000}, weight=1.0)
def bookmarks(cx: Context) -> Iterator[list[Finding]]:
    """A sleep between read and send; `done` counts bookmarks."""
    with cx.world(failpoints=f"between-read-and-send=sleep@{DAWDLE}") as world, loaded(world) as load:
        watched = Watched(world, load)
        load.read(READERS)
        load.write({load.posts: 1, load.starts: 1})
        told = 0
        for turn in range(ITERATIONS + 1):
            if turn < ITERATIONS:
                time.sleep(SECONDS)
                found = watched.check()
            else:
                found = without_done(watched.finish())
            heard = sum(stream.bookmarks for stream in watched.checker.streams.values())
            for finding in found:
                if finding.property == "R8":
                    finding.done, told = heard - told, heard
            yield [*found, watched.surprises()]
