"""HTTP/2 by hand, for what no client would send; and whether a gateway outlives it."""

import contextlib
import queue
import socket
import threading
import time
from typing import Iterator

import grpc
from hpack import Encoder
from hyperframe.frame import (
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from gateway import PATIENCE, connect
from metagov.v1 import community_pb2, community_pb2_grpc

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ENHANCE_YOUR_CALM = 11
WATCH = "/metagov.v1.EventService/WatchEvents"
# A message without fields, as gRPC frames it.
EMPTY = bytes(5)
# What the allocator may keep of what a client made it take.
SLACK = 64 << 20


class Line:
    """A connection that may break every rule. What comes back is read all the time,
    unless it is `deaf`."""

    def __init__(self, gateway, deaf: bool = False, settings: dict[int, int] | None = None):
        host, port = gateway.address.split(":")
        self._gateway = gateway
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._encoder = Encoder()
        self._frames: queue.Queue[Frame | None] = queue.Queue()
        self.seen: list[Frame] = []
        self.say(PREFACE)
        self.send(SettingsFrame(0, settings=settings or {}))
        if not deaf:
            threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(OSError):
            # While a thread reads, closing alone closes nothing.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def say(self, data: bytes) -> bool:
        """Sends bytes; whether the other side still takes them."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def send(self, *frames: Frame) -> bool:
        return self.say(b"".join(frame.serialize() for frame in frames))

    def head(self, stream: int, path: str, *more: tuple[str, str], ends: bool = False) -> Frame:
        """The head of a call, with the admin's token."""
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._gateway.address),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", f"Bearer {self._gateway.token}"),
            *more,
        ]
        flags = ["END_HEADERS", "END_STREAM"] if ends else ["END_HEADERS"]
        return HeadersFrame(stream, self._encoder.encode(fields), flags=flags)

    def next(self, kind: type[Frame]) -> Frame | None:
        """The next frame of a kind; nothing if the connection ends before."""
        while True:
            frame = self._frames.get(timeout=PATIENCE)
            if frame is None:
                # It stays the end for whoever asks again.
                self._frames.put(None)
            if frame is None or isinstance(frame, kind):
                return frame

    def end(self) -> int | None:
        """Waits for the other side to close; with which error it said that it would."""
        self.next(_Never)
        goodbyes = [frame for frame in self.seen if isinstance(frame, GoAwayFrame)]
        return goodbyes[-1].error_code if goodbyes else None

    def lives(self) -> bool:
        """Whether a ping is answered."""
        self.send(PingFrame(0, b"are-you?"))
        while (pong := self.next(PingFrame)) is not None:
            if pong.opaque_data == b"are-you?":
                return True
        return False

    def _read(self) -> None:
        try:
            while True:
                frame, length = Frame.parse_frame_header(memoryview(self._exactly(9)))
                frame.parse_body(memoryview(self._exactly(length)))
                self.seen.append(frame)
                self._answer(frame)
                self._frames.put(frame)
        except (OSError, EOFError):
            self._frames.put(None)

    def _answer(self, frame: Frame) -> None:
        """The least that the other side waits for."""
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.send(SettingsFrame(0, flags=["ACK"]))

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                more = self._socket.recv(length - len(data))
            except TimeoutError:
                # Silence is no end. A gateway asks whether we live after as long a silence.
                continue
            if not more:
                raise EOFError
            data += more
        return data


class _Never(Frame):
    """No frame is one of these."""


def reset(stream: int) -> Frame:
    return RstStreamFrame(stream, error_code=8)


def overflow(stream: int) -> Frame:
    """Too much of a window: a fault of this stream alone, with a window above zero."""
    return WindowUpdateFrame(stream, window_increment=0x7FFF_FFFF)


def memory(gateway) -> int:
    """What the process holds, in bytes."""
    with open(f"/proc/{gateway.child.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


class _Other(threading.Thread):
    """Another client, who asks all the time."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self._gateway = gateway
        self._over = threading.Event()
        self.served = 0
        self.refused: grpc.RpcError | None = None

    def run(self) -> None:
        bearer = [("authorization", f"Bearer {self._gateway.token}")]
        with connect(self._gateway.address) as channel:
            client = community_pb2_grpc.CommunityServiceStub(channel)
            request = community_pb2.ListCommunitiesRequest()
            while not self._over.wait(0.02):
                try:
                    client.ListCommunities(request, metadata=bearer, timeout=PATIENCE)
                    self.served += 1
                except grpc.RpcError as error:
                    # Whom a crowd leaves no connection to the database is told to call again.
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        self.refused = error
                        return

    def end(self) -> None:
        before = self.served
        deadline = time.monotonic() + PATIENCE
        while self.served == before and not self.refused:
            assert time.monotonic() < deadline, "another client is not served"
            time.sleep(0.02)
        self._over.set()
        self.join()
        assert self.refused is None, self.refused


@contextlib.contextmanager
def outlived(gateway, slack: int = SLACK) -> Iterator[None]:
    """What happens inside is outlived: another client is served meanwhile and after, and
    the memory is back within ten seconds, but for what the allocator may keep."""
    other = _Other(gateway)
    other.start()
    while other.served < 20:
        assert other.refused is None, other.refused
        time.sleep(0.02)
    before = memory(gateway)
    served = other.served
    yield
    assert gateway.child.poll() is None, "the process ended"
    other.end()
    assert other.served > served, "another client was not served meanwhile"
    deadline = time.monotonic() + 10
    while (held := memory(gateway) - before) > slack:
        assert time.monotonic() < deadline, f"{held >> 20} MiB more than before"
        time.sleep(0.1)
