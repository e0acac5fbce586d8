"""A client that breaks the rules of HTTP/2: each limit by its setting, and what is known
to have ended other servers. The process lives, others are served, memory is back."""

import socket
import time

import pytest
from hpack import Decoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from gateway import PATIENCE, Gateway
from http2 import (
    EMPTY,
    ENHANCE_YOUR_CALM,
    PREFACE,
    WATCH,
    Line,
    memory,
    outlived,
    overflow,
    reset,
)

LIST_PLUGINS = "/metagov.v1.PluginService/ListPlugins"
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM = 5, 6, 7


@pytest.fixture
def with_setting(tmp_path):
    """A gateway with some settings of its own."""
    started = []

    def start(**settings):
        variables = {f"METAGOV_{name.upper()}": str(value) for name, value in settings.items()}
        gateway = Gateway(tmp_path, data=f"data{len(started)}", settings=variables)
        gateway.start()
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.close()


def streams(count: int) -> range:
    """The ids of so many streams."""
    return range(1, 2 * count + 1, 2)


def reset_rapidly(line: Line, count: int) -> None:
    pairs = [[line.head(n, LIST_PLUGINS), reset(n)] for n in streams(count)]
    line.send(*(frame for pair in pairs for frame in pair))


def test_http2_pending_resets_ends_a_rapid_reset(gateway, with_setting):
    with outlived(gateway):
        for _ in range(20):
            with Line(gateway) as line:
                reset_rapidly(line, 1000)
                assert line.end() == ENHANCE_YOUR_CALM
    patient = with_setting(http2_pending_resets=10_000)
    with Line(patient) as line:
        reset_rapidly(line, 1000)
        assert line.lives()


def break_streams(line: Line, count: int) -> None:
    for n in streams(count):
        # A pause, so that each is begun and is no pending one.
        line.send(line.head(n, WATCH))
        line.send(overflow(n))


def test_http2_local_resets_ends_who_makes_the_server_reset(gateway, with_setting):
    with outlived(gateway):
        for _ in range(5):
            with Line(gateway) as line:
                break_streams(line, 150)
                assert line.end() == ENHANCE_YOUR_CALM
    patient = with_setting(http2_local_resets=10_000)
    with Line(patient) as line:
        break_streams(line, 150)
        assert line.lives()


def test_http2_header_list_ends_a_flood_of_continuations(gateway):
    with outlived(gateway):
        for size in (0, 1, 16_000):
            with Line(gateway) as line:
                line.send(HeadersFrame(1, b""))
                frame = ContinuationFrame(1, bytes(size)).serialize()
                for _ in range(1000):
                    if not line.say(frame * 100):
                        break
                # The keepalive would end it, too, but not within the time of patience.
                line.end()


def test_http2_header_list_bounds_a_head(gateway, with_setting):
    wide = with_setting(http2_header_list="64KiB")
    with outlived(gateway):
        for of, is_refused in ((gateway, True), (wide, False)):
            with Line(of) as line:
                large = [(f"x-{n}", "y" * 1000) for n in range(20)]
                head = line.head(1, LIST_PLUGINS, *large, ends=True)
                blocks = [head.data[i : i + 16_000] for i in range(0, len(head.data), 16_000)]
                more = [ContinuationFrame(1, block) for block in blocks[1:]]
                more[-1].flags.add("END_HEADERS")
                # At once: nothing may stand in between, as what is answered meanwhile would.
                line.send(HeadersFrame(1, blocks[0], flags=["END_STREAM"]), *more)
                answer = line.next(HeadersFrame)
                assert (status_of(answer) == "431") == is_refused


def status_of(answer: HeadersFrame) -> str:
    return dict(Decoder().decode(answer.data))[":status"]


def test_http2_header_list_bounds_what_a_table_expands_to(gateway):
    """A bomb: one byte each for a field of 4,000 bytes that was said once."""
    with outlived(gateway):
        for _ in range(50):
            with Line(gateway) as line:
                bomb = literal(b"x-bomb", b"b" * 3900)
                # The newest entry of the table is 62.
                line.send(HeadersFrame(1, bomb + b"\xbe" * 12_000, flags=["END_HEADERS"]))
                for n in streams(50)[1:]:
                    line.send(HeadersFrame(n, b"\xbe" * 16_000, flags=["END_HEADERS"]))
                line.lives()


def literal(name: bytes, value: bytes) -> bytes:
    """A field that goes into the table, without Huffman's code."""
    return b"\x40" + bytes([len(name)]) + name + integer(len(value), 7) + value


def integer(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    rest, out = value - most, [most]
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes([*out, rest])


def test_http2_streams_bounds_those_of_a_connection(gateway, with_setting):
    with outlived(gateway):
        with Line(gateway) as line:
            announced = line.next(SettingsFrame).settings
            assert announced[SettingsFrame.MAX_CONCURRENT_STREAMS] == 200
            for n in streams(10_000):
                if not line.send(line.head(n, WATCH), DataFrame(n, EMPTY, flags=["END_STREAM"])):
                    break
            line.lives()
            begun = {f.stream_id for f in line.seen if isinstance(f, HeadersFrame)}
            assert len(begun) <= 200
            resets = [f for f in line.seen if isinstance(f, RstStreamFrame)]
            # DATA of a stream that was refused and forgotten finds it closed.
            assert all(f.error_code in (REFUSED_STREAM, STREAM_CLOSED) for f in resets)
            assert begun.isdisjoint(f.stream_id for f in resets)
    few = with_setting(http2_streams=2)
    with Line(few) as line:
        for n in streams(3):
            line.send(line.head(n, WATCH), DataFrame(n, EMPTY, flags=["END_STREAM"]))
        refused = line.next(RstStreamFrame)
        assert (refused.stream_id, refused.error_code) == (5, REFUSED_STREAM)


def test_ten_thousand_streams_of_many_connections_are_carried(gateway):
    # All of it is free then; glibc keeps a part for the next crowd.
    with outlived(gateway, slack=384 << 20):
        crowd(gateway)
    with outlived(gateway):
        crowd(gateway)


def crowd(gateway) -> None:
    """Opens ten thousand streams, waits until all are served, and goes away."""
    lines = [Line(gateway) for _ in range(50)]
    for line in lines:
        for n in streams(200):
            line.send(line.head(n, WATCH), DataFrame(n, EMPTY, flags=["END_STREAM"]))
    for line in lines:
        for _ in range(200):
            assert line.next(HeadersFrame) is not None
    for line in lines:
        line.__exit__()


def test_a_client_without_a_window_is_no_burden(gateway):
    """It takes calls, and never takes an answer."""
    none = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
    before = memory(gateway)
    with outlived(gateway):
        lines = [Line(gateway, settings=none) for _ in range(10)]
        for line in lines:
            for n in streams(200):
                path = (WATCH, LIST_PLUGINS)[n % 4 == 1]
                line.send(line.head(n, path), DataFrame(n, EMPTY, flags=["END_STREAM"]))
        for line in lines:
            assert line.lives()
            assert not any(isinstance(f, DataFrame) and f.data for f in line.seen)
        assert memory(gateway) - before < 256 << 20
        for line in lines:
            line.__exit__()


def test_a_client_without_a_window_does_not_hold_the_drain(with_setting):
    gateway = with_setting(drain_timeout="1s")
    none = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
    with Line(gateway, settings=none) as line:
        line.send(line.head(1, LIST_PLUGINS), DataFrame(1, EMPTY, flags=["END_STREAM"]))
        assert line.lives()
        gateway.terminate()
        assert gateway.exit_code() == 0


@pytest.mark.parametrize("deaf", [False, True], ids=["heard", "unheard"])
@pytest.mark.parametrize(
    "frame",
    [
        PingFrame(0, b"12345678"),
        SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}),
        SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 1}),
        PriorityFrame(99, depends_on=1, stream_weight=3),
        WindowUpdateFrame(0, window_increment=1),
    ],
    ids=["ping", "settings", "table", "priority", "window"],
)
def test_a_flood_of_control_frames_is_outlived(gateway, frame, deaf):
    with outlived(gateway):
        with Line(gateway, deaf=deaf) as line:
            line._socket.settimeout(3)
            many = frame.serialize() * 1000
            until = time.monotonic() + 3
            while time.monotonic() < until and line.say(many):
                pass


def test_a_flood_of_empty_data_is_outlived(gateway):
    with outlived(gateway):
        with Line(gateway) as line:
            line.send(line.head(1, LIST_PLUGINS))
            many = DataFrame(1, b"").serialize() * 1000
            until = time.monotonic() + 3
            while time.monotonic() < until and line.say(many):
                pass


def test_http2_frame_size_bounds_a_frame(gateway, with_setting):
    wide = with_setting(http2_frame_size="64KiB")
    for of, is_refused in ((gateway, True), (wide, False)):
        with outlived(of), Line(of) as line:
            line.send(line.head(1, LIST_PLUGINS), DataFrame(1, bytes(20_000)))
            assert line.lives() != is_refused
            if is_refused:
                assert line.end() == FRAME_SIZE_ERROR


def test_http2_windows_are_as_they_are_set(gateway, with_setting):
    wide = with_setting(http2_stream_window="1MiB", http2_connection_window="2MiB")
    for of, stream, connection in ((gateway, 256 << 10, 1 << 20), (wide, 1 << 20, 2 << 20)):
        with Line(of) as line:
            announced = line.next(SettingsFrame).settings
            assert announced[SettingsFrame.INITIAL_WINDOW_SIZE] == stream
            # What every connection begins with, and what is added to it.
            assert line.next(WindowUpdateFrame).window_increment + 65_535 == connection


def test_http2_keepalive_ends_who_does_not_answer(with_setting):
    gateway = with_setting(http2_keepalive_interval="1s", http2_keepalive_timeout="1s")
    with outlived(gateway), Line(gateway) as line:
        # Nothing answers pings here.
        assert line.next(PingFrame) is not None
        line.end()


def test_head_timeout_ends_a_stalled_preface(with_setting):
    gateway = with_setting(head_timeout="1s")
    host, port = gateway.address.split(":")
    with outlived(gateway):
        stalled = []
        for length in range(len(PREFACE)):
            line = socket.create_connection((host, int(port)), timeout=PATIENCE)
            line.sendall(PREFACE[:length])
            stalled.append(line)
        for line in stalled:
            assert line.recv(1) == b"", "it is closed without a word"
            line.close()


def test_a_head_that_never_ends_is_ended_by_the_keepalive(with_setting):
    gateway = with_setting(http2_keepalive_interval="1s", http2_keepalive_timeout="1s")
    with outlived(gateway), Line(gateway) as line:
        # Between these and their end nothing else may be sent, not even a PONG.
        line.send(HeadersFrame(1, line.head(1, WATCH).data))
        line.end()


def test_frames_of_no_stream_and_of_no_kind_are_outlived(gateway):
    with outlived(gateway):
        for frame in (
            DataFrame(1, b"x").serialize(),
            RstStreamFrame(1, error_code=8).serialize(),
            HeadersFrame(2, b"", flags=["END_HEADERS"]).serialize(),
            ContinuationFrame(1, b"").serialize(),
            GoAwayFrame(0).serialize(),
            b"\0\0\1\xee\xff\0\0\0\1x" * 10_000,
            b"\xff\xff\xff\0\0\0\0\0\1",
            b"\0" * 100_000,
        ):
            with Line(gateway) as line:
                line.say(frame)
                line.lives()
