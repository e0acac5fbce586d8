"""The contract in `proto/` as the page `api.md` tells it, from buf's descriptors."""

import subprocess
from pathlib import Path
from typing import Iterator

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from reference.files import File, shared
from reference.links import anchor, linker

# In the order a reader learns them. One that is new has to be given its place here.
ORDER = "community plugin action process event subscription identity access error".split()


def read(root: Path) -> dict:
    """What the template is given: every file with its services, messages and enums."""
    files = descriptors(root)
    link = linker({name for file in files for name in _places(file)})
    return {"files": [File(file, link).told() for file in files], "anchor": anchor}


def descriptors(root: Path) -> list[FileDescriptorProto]:
    """The files of the contract, with their comments."""
    buf = [root / "target" / "tools" / "bin" / "buf", "build", "-o", "-"]
    built = subprocess.run(buf, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    ours = [f for f in FileDescriptorSet.FromString(built).file if f.package == "metagov.v1"]
    return sorted(ours, key=lambda file: ORDER.index(Path(file.name).stem))


def _places(file: FileDescriptorProto) -> Iterator[str]:
    """All that has a place on the page, and can be linked."""
    for service in file.service:
        yield service.name
        yield from (method.name for method in service.method)
    yield from (message.name for message in shared(file))
    for enum in file.enum_type:
        yield enum.name
        yield from (value.name for value in enum.value if enum.name == "ErrorReason")
