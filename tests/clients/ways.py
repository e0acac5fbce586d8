"""Ways to a gateway that fail, each in its own manner."""

import socket
import threading
from typing import Callable

from relay import Relay, copy


class Breaking(Relay):
    """A proxy that cuts every connection after a while."""

    def __init__(self, to: str, seconds: float):
        self._to, self._seconds = split(to), seconds
        self.cut = 0
        super().__init__()

    def forward(self, taken: socket.socket) -> None:
        with taken, socket.create_connection(self._to) as there:
            threading.Thread(target=copy, args=(taken, there), daemon=True).start()
            back = threading.Thread(target=copy, args=(there, taken), daemon=True)
            back.start()
            back.join(self._seconds)
            for side in (taken, there):
                shut(side)
        self.cut += 1


class Swallowing(Relay):
    """A proxy that forwards until it is told to forget: then each connection that it has
    stays open, and whatever is said on it goes nowhere. New ones are forwarded."""

    def __init__(self, to: str):
        self._to = split(to)
        # One for the connections up to the next time that it forgets.
        self._forgotten = threading.Event()
        super().__init__()

    def forget(self) -> None:
        """Forwards nothing more on the connections that there are."""
        forgotten, self._forgotten = self._forgotten, threading.Event()
        forgotten.set()

    def forward(self, taken: socket.socket) -> None:
        forgotten = self._forgotten
        there = socket.create_connection(self._to)
        back = (there, taken, forgotten.is_set)
        threading.Thread(target=swallow, args=back, daemon=True).start()
        swallow(taken, there, forgotten.is_set)


def swallow(source: socket.socket, to: socket.socket, forgotten: Callable[[], bool]) -> None:
    """Copies until the end, or only reads once it is to forget."""
    try:
        while data := source.recv(65536):
            if not forgotten():
                to.sendall(data)
        if not forgotten():
            shut(to)
    except OSError:
        pass  # One of the two went away.


def split(address: str) -> tuple[str, int]:
    host, port = address.split(":")
    return host, int(port)


def shut(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It is.
