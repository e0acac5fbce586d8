"""Makes the Python stubs from `proto/`, as any caller would, into `target/python`."""

import shutil
import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "python"


def generate() -> None:
    """Generates everything anew, and lets Python find it."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    contract = ROOT / "proto"
    files = sorted(str(path) for path in contract.glob("metagov/v1/*.proto"))
    well_known = str(resources.files("grpc_tools") / "_proto")
    include = [f"--proto_path={contract}", f"--proto_path={well_known}"]
    out = [f"--python_out={OUT}", f"--grpc_python_out={OUT}"]
    if protoc.main(["protoc", *include, *out, *files]) != 0:
        raise RuntimeError("proto/ does not compile with grpcio-tools")
    sys.path.insert(0, str(OUT))
