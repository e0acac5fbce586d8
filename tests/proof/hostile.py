"""A Discourse that does its worst, on a line of its own for each request.

What it is to do stands at the beginning of the post that it is asked to publish,
`<fault> <request id>`; it counts each post that it took, by that id.
"""

import collections
import json
import socket
import struct
import threading
import time

# What befalls a request after the post was published, but for `busy` and `refused`.
FAULTS = ("drop", "error", "slow", "busy", "garbage", "endless", "refused", "cut")
SOUND = "sound"


class Hostile:
    """Listens on the loopback while it is entered."""

    def __init__(self, slow: float):
        # Longer than the gateway waits.
        self._slow = slow
        self.effects: collections.Counter = collections.Counter()
        self.requests: collections.Counter = collections.Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> "Hostile":
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._attend, args=(line,), daemon=True).start()

    def _attend(self, line: socket.socket) -> None:
        with line:
            try:
                while self._one(line, line.makefile("rb")):
                    pass
            except (OSError, ValueError):
                # The gateway went away, or was killed.
                pass

    def _one(self, line: socket.socket, read) -> bool:
        """Answers one request; whether the line stays."""
        head = read.readline().split()
        if len(head) < 3:
            return False
        length = 0
        while (field := read.readline().strip()) != b"":
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = read.read(length)
        if len(body) < length:
            # Cut short by a kill: it never took place.
            return False
        if head[0] != b"POST":
            return self._say(line, 200, SETUP.get(head[1].decode().partition("?")[0], {}))
        fault, _, name = json.loads(body)["raw"].partition(" ")
        return self._worst(line, fault, name)

    def _worst(self, line: socket.socket, fault: str, name: str) -> bool:
        with self._lock:
            self.requests[name] += 1
            nth = self.requests[name]
            if fault != "busy" or nth > 1:
                self.effects[name] += 1
        if fault == "drop":
            # A reset, not a polite end.
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if fault == "error":
            return self._say(line, 500, {"errors": ["after the effect"]})
        if fault == "busy" and nth == 1:
            line.sendall(b"HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
            return True
        if fault == "garbage":
            line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<html>\xff{}")
            return True
        if fault == "endless":
            line.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                line.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
                time.sleep(0.001)
        if fault == "cut":
            line.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: appl")
            return False
        if fault == "slow":
            time.sleep(self._slow)
        post = {"id": 1, "topic_id": 1, "topic_slug": "a", "post_number": nth}
        return self._say(line, 200, post)

    def _say(self, line: socket.socket, status: int, what) -> bool:
        body = json.dumps(what).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
        line.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        return True


SETUP = {
    "/about.json": {"about": {"title": "The garden"}},
    "/admin/users/list/active.json": [],
    "/directory_items.json": {"directory_items": [], "meta": {"total_rows_directory_items": 0}},
}
