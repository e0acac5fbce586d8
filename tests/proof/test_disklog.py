"""The disks that `disklog.py` makes of a log, compared with what a power cut may do."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from proof.disklog import SECTOR, DiskLog, strace

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing (Debian: apt-get install strace)"
)

WRITES = """
import os, sys
folder = sys.argv[1]
file = os.open(folder + "/kept", os.O_RDWR | os.O_CREAT, 0o600)
os.pwrite(file, b"a" * 2048, 0)
os.fdatasync(file)
os.pwrite(file, b"b" * 2048, 0)
os.ftruncate(file, 1024)
other = os.open(folder + "/draft", os.O_WRONLY | os.O_CREAT, 0o600)
os.write(other, b"one ")
os.write(other, b"two")
os.fsync(other)
os.rename(folder + "/draft", folder + "/final")
"""


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    command = [*strace(tmp_path / "trace"), sys.executable, "-c", WRITES, str(folder)]
    subprocess.run(command, check=True, timeout=60)
    log = DiskLog(folder).read(tmp_path / "trace")
    assert log.unknown == []
    return log


def image(log: DiskLog, into: Path, keep: float, at: float | None = None) -> Path:
    log.image(time.time() if at is None else at, into, Random(1), keep)
    return into


def test_what_was_synced_is_there_and_what_was_not_may_be_lost(log, tmp_path):
    found = image(log, tmp_path / "image", keep=0.0)
    assert (found / "kept").read_bytes() == b"a" * 2048


def test_all_of_it_may_be_there(log, tmp_path):
    found = image(log, tmp_path / "image", keep=1.0)
    assert (found / "kept").read_bytes() == b"b" * 1024


def test_a_write_is_torn_at_sectors(log, tmp_path):
    seen = set()
    for number in range(40):
        into = tmp_path / f"image-{number}"
        log.image(time.time(), into, Random(number), 0.5)
        data = (into / "kept").read_bytes()
        for begin in range(0, len(data), SECTOR):
            assert len(set(data[begin : begin + SECTOR])) == 1, "torn inside a sector"
        seen.add(data)
    assert any(b"a" in data and b"b" in data for data in seen)


def test_a_rename_without_a_sync_of_its_folder_may_be_lost(log, tmp_path):
    names = set()
    for number in range(40):
        into = tmp_path / f"image-{number}"
        log.image(time.time(), into, Random(number), 0.0)
        names |= {path.name for path in into.iterdir()}
        for name in ("draft", "final"):
            if (into / name).exists():
                # It was synced before it was renamed.
                assert (into / name).read_bytes() == b"one two"
    assert names == {"kept", "draft", "final"}


def test_before_the_first_sync_there_may_be_nothing(log, tmp_path):
    begin = min(op.begin for op in log.names["kept"].ops)
    found = image(log, tmp_path / "image", keep=0.0, at=begin)
    assert not (found / "kept").exists() or (found / "kept").read_bytes() == b""


def test_a_write_that_is_cut_off_in_the_log_is_no_proof(tmp_path):
    log = DiskLog(tmp_path)
    name = "".join(f"\\x{byte:02x}" for byte in os.fsencode(tmp_path / "file"))
    (tmp_path / "trace.1").write_text(f'1.0 pwrite64(3<{name}>, "\\x61"..., 100, 0) = 100 <0.1>\n')
    log.read(tmp_path / "trace")
    assert len(log.unknown) == 1
    assert log.names["file"].ops == []
