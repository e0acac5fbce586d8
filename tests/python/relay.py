"""A way to a server on this machine that a test can bend or break."""

import socket
import threading


class Relay:
    """Listens on a port of its own, and has each connection forwarded by a thread."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def forward(self, taken: socket.socket) -> None:
        """What becomes of a connection."""
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self.forward, args=(taken,), daemon=True).start()


def copy(source: socket.socket, to: socket.socket) -> None:
    """Copies until one of the two ends."""
    try:
        while data := source.recv(65536):
            to.sendall(data)
    except OSError:
        pass  # One of the two went away.
