"""H1, R9: streams that are cut after a random number of bytes."""

import random
import socket
import threading
import time
from typing import Iterator

from relay import Relay, copy

from ..harness import EVERY_RUN, Context, Finding, harness
from ..load import READERS, loaded
from ..server import Gateway
from .kill_loop import Watched, without_done

# So many iterations to a world, each of about so many seconds.
ITERATIONS, SECONDS = 15, 2.0
# At most so many bytes go down a connection before it breaks.
MOST = 6000


class Cutter(Relay):
    """A way to a gateway that breaks after a random number of bytes."""

    def __init__(self, gateway: Gateway, chance: random.Random):
        self._gateway = gateway
        self._random = chance
        self._most = MOST
        super().__init__()

    def heal(self) -> None:
        """From now on connections hold, as good as for ever."""
        self._most = 1 << 60

    def forward(self, taken: socket.socket) -> None:
        host, port = self._gateway.address.split(":")
        try:
            with taken, socket.create_connection((host, int(port))) as other:
                up = threading.Thread(target=copy, args=(taken, other), daemon=True)
                up.start()
                _copy_some(other, taken, self._random.randint(1, self._most))
                for end in (taken, other):
                    end.shutdown(socket.SHUT_RDWR)
                up.join()
        except OSError:
            pass  # One of the two went away first.


def _copy_some(source: socket.socket, to: socket.socket, most: int) -> None:
    try:
        while most > 0 and (data := source.recv(min(most, 65536))):
            to.sendall(data)
            most -= len(data)
    except OSError:
        pass  # One of the two went away.


@harness(
    "H1",
    "cut",
    required={"R4": EVERY_RUN, "R5": EVERY_RUN, "R6": EVERY_RUN, "R7": EVERY_RUN, "R9": 10_000},
    weight=2.0,
)
def cut(cx: Context) -> Iterator[list[Finding]]:
    """Streams are cut at a random byte and go on after their last cursor, under load."""
    with cx.world() as world, loaded(world) as load:
        watched = Watched(world, load)
        cutter = Cutter(world.gateway, random.Random(cx.random.random()))
        readers = {
            f"{name}-{i}": wanted for name, wanted in READERS.items() if name != "nothing" for i in range(2)
        }
        load.read(readers, through=lambda _: cutter.address)
        load.write({load.posts: 1, load.changes: 1, load.failures: 1})
        try:
            for _ in range(ITERATIONS):
                time.sleep(SECONDS)
                yield [*watched.check(), watched.surprises()]
            cutter.heal()
            yield without_done(watched.finish())
        finally:
            cutter.close()
