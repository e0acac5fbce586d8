"""What a process did to files, as strace saw it, and the disks a power cut may leave.

A `DiskLog` is read from the files of `strace -ff -ttt -T -y -xx`. `DiskLog.image` makes
a folder as it may be found after the power failed at a moment:

- what was written to a file before its last fsync or fdatasync that had returned by
  then is there;
- of what came later, each sector of 512 bytes, each truncation, is there or not, by
  chance: writes are lost, reordered and torn;
- names (create, rename, unlink) are kept in order, as a journal keeps them: up to the
  last sync of anything, and a random number more.

It emulates the loss of unsynced writes, not disks that lie.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SECTOR = 512
CALLS = (
    "openat,open,creat,close,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,"
    "fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,link,"
    "linkat,mkdir,mkdirat,rmdir,copy_file_range,sendfile,mmap,msync"
)
# Long enough for a page of any database here; what is cut off is a fault of this log.
LONGEST = 1 << 20

_LINE = re.compile(r"^(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+|\?)(.*?)(?:<(\d+\.\d+)>)?$")
_FD = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>(?:\(deleted\))?")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


def strace(output: Path) -> list[str]:
    """What stands before the command that is to be logged."""
    return [
        "strace", "-ff", "-ttt", "-T", "-y", "-xx", "-s", str(LONGEST),
        "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(output),
    ]  # fmt: skip


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class Op:
    """A change of a file's content."""

    begin: float
    end: float
    offset: int
    # None is a truncation to `offset`.
    data: bytes | None


@dataclass
class File:
    """A file, whatever its name."""

    ops: list[Op] = field(default_factory=list)
    # When it was synced, from and to.
    syncs: list[tuple[float, float]] = field(default_factory=list)
    base: bytes = b""
    size: int = 0

    def content(self, at: float, rng: Random, keep: float) -> bytes:
        done = [sync for sync in self.syncs if sync[1] <= at]
        durable = max((begin for begin, _ in done), default=0.0)
        data = bytearray(self.base)
        for op in self.ops:
            if op.begin > at:
                continue
            if op.end <= durable:
                _apply(data, op)
            else:
                _maybe(data, op, rng, keep)
        return bytes(data)


def _apply(data: bytearray, op: Op) -> None:
    if op.data is None:
        if op.offset < len(data):
            del data[op.offset :]
        else:
            data.extend(bytes(op.offset - len(data)))
        return
    if op.offset > len(data):
        data.extend(bytes(op.offset - len(data)))
    data[op.offset : op.offset + len(op.data)] = op.data


def _maybe(data: bytearray, op: Op, rng: Random, keep: float) -> None:
    """Sector by sector, since a sector is the most that a disk writes at once."""
    if op.data is None:
        if rng.random() < keep:
            _apply(data, op)
        return
    begin = op.offset
    end = op.offset + len(op.data)
    while begin < end:
        stop = min(end, (begin // SECTOR + 1) * SECTOR)
        if rng.random() < keep:
            part = op.data[begin - op.offset : stop - op.offset]
            _apply(data, Op(op.begin, op.end, begin, part))
        begin = stop


class DiskLog:
    """The files below a folder, from its beginning (`base`, or empty) on."""

    def __init__(self, folder: Path, base: Path | None = None):
        self.folder = str(folder)
        self.names: dict[str, File] = {}
        self.folders: set[str] = set()
        # (begin, end, what, path, other path or file), in order.
        self.journal: list[tuple] = []
        self.syncs: list[tuple[float, float]] = []
        # What it cannot follow; a log with such a line proves nothing.
        self.unknown: list[str] = []
        # How often each call was seen, to tell a log that saw nothing.
        self.counts: dict[str, int] = {}
        self._fds: dict[tuple[str, int], list] = {}
        self._base = dict(self._read(base)) if base else {}
        for path, data in self._base.items():
            self.names[path] = File(base=data, size=len(data))
        self._first = dict(self.names)
        if base:
            self.folders = {
                str(path.relative_to(base)) for path in base.rglob("*") if path.is_dir()
            }

    @staticmethod
    def _read(base: Path):
        for path in base.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(base)), path.read_bytes()

    def read(self, prefix: Path) -> "DiskLog":
        """Reads the logs of all threads, in the order of time."""
        lines = []
        for path in prefix.parent.glob(prefix.name + ".*"):
            with path.open() as log:
                thread = path.suffix
                for line in log:
                    if (match := _LINE.match(line.rstrip("\n"))) is not None:
                        lines.append((float(match[1]), thread, match))
        lines.sort(key=lambda line: line[0])
        for begin, thread, match in lines:
            self._take(begin, thread, match)
        return self

    def last(self) -> float:
        """When the last sync of anything returned."""
        return max((end for _, end in self.syncs), default=0.0)

    def moments(self) -> list[float]:
        """When something was begun or synced."""
        times = [op.begin for file in self._files() for op in file.ops]
        return sorted(times + [end for _, end in self.syncs])

    def image(self, at: float, into: Path, rng: Random, keep: float) -> None:
        """Writes the folder as it may be found after the power failed at `at`."""
        into.mkdir(parents=True)
        names, folders = self._names_at(at, rng)
        for name in sorted(folders):
            (into / name).mkdir(parents=True, exist_ok=True)
        for name, file in names.items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(file.content(at, rng, keep))

    def _files(self):
        seen = {id(file): file for file in self._first.values()}
        for entry in self.journal:
            if entry[2] == "create":
                seen[id(entry[4])] = entry[4]
        return seen.values()

    def _names_at(self, at: float, rng: Random):
        begun = [entry for entry in self.journal if entry[0] <= at]
        synced = max((begin for begin, end in self.syncs if end <= at), default=0.0)
        sure = sum(1 for entry in begun if entry[1] <= synced)
        names, folders = dict(self._first), set()
        if self._first:
            folders = {str(Path(name).parent) for name in self._first}
            folders |= self.folders_of_base()
        for entry in begun[: sure + rng.randint(0, len(begun) - sure)]:
            what, path, other = entry[2:]
            if what == "create":
                names[path] = other
            elif what == "unlink":
                names.pop(path, None)
            elif what == "mkdir":
                folders.add(path)
            elif what == "rmdir":
                folders.discard(path)
            elif what == "link" and path in names:
                names[other] = names[path]
            elif what == "rename":
                if path in names:
                    names[other] = names.pop(path)
                # A folder takes its files along.
                for name in [name for name in names if name.startswith(path + "/")]:
                    names[other + name[len(path) :]] = names.pop(name)
                if path in folders:
                    folders.discard(path)
                    folders.add(other)
        return names, folders

    def folders_of_base(self) -> set[str]:
        return self.folders

    def _inside(self, path: str) -> str | None:
        if path == self.folder:
            return ""
        inside = path.startswith(self.folder + "/")
        return path[len(self.folder) + 1 :] if inside else None

    def _take(self, begin: float, thread: str, match: re.Match) -> None:
        _, call, arguments, result, _, took = match.groups()
        self.counts[call] = self.counts.get(call, 0) + 1
        if result == "?" or int(result) < 0:
            return
        end = begin + float(took or 0)
        handler = getattr(self, "_on_" + call, None)
        if handler is not None:
            handler(begin, end, arguments, int(result))
        elif self.folder.encode().hex() in arguments.replace("\\x", "") and call not in (
            "sync_file_range",
            "close",
        ):
            self._lost(call, arguments)

    def _lost(self, call: str, arguments: str) -> None:
        self.unknown.append(f"{call}({arguments[:200]}")

    def _fd(self, arguments: str) -> tuple[int, str | None, str]:
        match = _FD.match(arguments)
        if match is None:
            return -1, None, ""
        path = os.fsdecode(_bytes(match[2]))
        return int(match[1]), self._inside(path), arguments[match.end() :]

    def _file(self, path: str, begin: float, end: float) -> File:
        if path not in self.names:
            file = self.names[path] = File()
            self.journal.append((begin, end, "create", path, file))
        return self.names[path]

    def _path(self, arguments: str, number: int = 0) -> str | None:
        found = _TEXT.findall(arguments)
        if len(found) <= number:
            return None
        path = os.fsdecode(_bytes(found[number][0]))
        if not path.startswith("/"):
            # Relative to the folder that stands before it.
            bases = re.findall(r"(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>", arguments)
            base = os.fsdecode(_bytes(bases[min(number, len(bases) - 1)])) if bases else self.cwd
            path = os.path.normpath(os.path.join(base, path))
        return self._inside(path)

    # Where a process stands that names files without a folder.
    cwd = "/"

    def _on_openat(self, begin, end, arguments, result):
        path = self._path(arguments)
        if not path or "O_DIRECTORY" in arguments:
            return
        if "O_CREAT" in arguments:
            self._file(path, begin, end)
        if path not in self.names:
            return
        file = self.names[path]
        if "O_TRUNC" in arguments and file.size:
            file.ops.append(Op(begin, end, 0, None))
            file.size = 0
        start = file.size if "O_APPEND" in arguments else 0
        self._fds[path, result] = [start, "O_APPEND" in arguments]

    _on_open = _on_openat

    def _on_lseek(self, begin, end, arguments, result):
        fd, path, _ = self._fd(arguments)
        if path and (path, fd) in self._fds:
            self._fds[path, fd][0] = result

    def _on_write(self, begin, end, arguments, result):
        fd, path, rest = self._fd(arguments)
        if not path:
            return
        file = self._file(path, begin, end)
        place = self._fds.setdefault((path, fd), [0, False])
        offset = file.size if place[1] else place[0]
        self._write(file, (begin, end), offset, (rest, result))
        place[0] = offset + result

    _on_writev = _on_write

    def _on_pwrite64(self, begin, end, arguments, result):
        _, path, rest = self._fd(arguments)
        if path:
            offset = int(rest.rsplit(",", 1)[1])
            self._write(self._file(path, begin, end), (begin, end), offset, (rest, result))

    _on_pwritev = _on_pwrite64

    def _write(self, file: File, when, offset: int, what) -> None:
        rest, length = what
        parts = _TEXT.findall(rest)
        data = b"".join(_bytes(text) for text, _ in parts)[:length]
        if any(cut for _, cut in parts) or len(data) != length:
            self._lost("write", rest)
            return
        file.ops.append(Op(*when, offset, data))
        file.size = max(file.size, offset + length)

    def _on_ftruncate(self, begin, end, arguments, _):
        _, path, rest = self._fd(arguments)
        if path:
            self._truncate(self._file(path, begin, end), (begin, end), int(rest.rsplit(",", 1)[1]))

    def _on_truncate(self, begin, end, arguments, _):
        path = self._path(arguments)
        if path:
            size = int(arguments.rsplit(",", 1)[1])
            self._truncate(self._file(path, begin, end), (begin, end), size)

    def _truncate(self, file: File, when, size: int) -> None:
        file.ops.append(Op(*when, size, None))
        file.size = size

    def _on_fallocate(self, begin, end, arguments, _):
        _, path, rest = self._fd(arguments)
        if not path:
            return
        mode, offset, length = [part.strip() for part in rest.split(",")[-3:]]
        if mode != "0":
            self._lost("fallocate", arguments)
            return
        file = self._file(path, begin, end)
        if int(offset) + int(length) > file.size:
            self._truncate(file, (begin, end), int(offset) + int(length))

    def _on_fsync(self, begin, end, arguments, _):
        _, path, _ = self._fd(arguments)
        if path is None:
            return
        self.syncs.append((begin, end))
        if path in self.names:
            self.names[path].syncs.append((begin, end))

    _on_fdatasync = _on_fsync

    def _on_rename(self, begin, end, arguments, _):
        old, new = self._path(arguments, 0), self._path(arguments, 1)
        if old is None or new is None:
            if old or new:
                self._lost("rename", arguments)
            return
        self.journal.append((begin, end, "rename", old, new))
        if old in self.names:
            self.names[new] = self.names.pop(old)
        for name in [name for name in self.names if name.startswith(old + "/")]:
            self.names[new + name[len(old) :]] = self.names.pop(name)

    _on_renameat = _on_renameat2 = _on_rename

    def _on_link(self, begin, end, arguments, _):
        old, new = self._path(arguments, 0), self._path(arguments, 1)
        if old and new and old in self.names:
            self.journal.append((begin, end, "link", old, new))
            self.names[new] = self.names[old]

    _on_linkat = _on_link

    def _on_unlink(self, begin, end, arguments, _):
        path = self._path(arguments)
        if path is None:
            return
        if "AT_REMOVEDIR" in arguments:
            self.journal.append((begin, end, "rmdir", path, None))
        elif path in self.names:
            self.journal.append((begin, end, "unlink", path, None))
            del self.names[path]

    _on_unlinkat = _on_unlink

    def _on_mkdir(self, begin, end, arguments, _):
        path = self._path(arguments)
        if path:
            self.journal.append((begin, end, "mkdir", path, None))

    _on_mkdirat = _on_mkdir

    def _on_rmdir(self, begin, end, arguments, _):
        path = self._path(arguments)
        if path:
            self.journal.append((begin, end, "rmdir", path, None))

    def _on_close(self, begin, end, arguments, _):
        fd, path, _ = self._fd(arguments)
        self._fds.pop((path, fd), None)

    def _on_mmap(self, begin, end, arguments, _):
        """Memory of a file is no matter as long as it is only read, or is the index of a
        write-ahead log, which is made anew."""
        match = re.search(r", (\d+)<((?:\\x[0-9a-f]{2})*)>", arguments)
        if match is None or "MAP_SHARED" not in arguments or "PROT_WRITE" not in arguments:
            return
        path = self._inside(os.fsdecode(_bytes(match[2])))
        if path and not path.endswith("-shm"):
            self._lost("mmap", arguments)

    def _on_msync(self, *_):
        pass
