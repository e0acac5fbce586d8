"""The languages that have a client, and where its programs are.

METAGOV_CLIENTS=python,go limits a run to those; METAGOV_CLIENTS_DIR is another folder with
clients than this repository's. Python has two clients, so `asyncio` counts as a language.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(os.environ.get("METAGOV_CLIENTS_DIR") or ROOT / "clients").resolve()

# In the order of the table's columns.
ALL = ("rust", "python", "asyncio", "typescript", "go", "java")


@dataclass(frozen=True)
class Language:
    """A language, by the name of its folder, or the second client of Python."""

    name: str

    @property
    def folder(self) -> Path:
        return CLIENTS / ("python" if self.name == "asyncio" else self.name)

    @property
    def behaviour(self) -> Path:
        """The program that does what a row asks of it: `run VERB ARG…`."""
        return self.folder / "behaviour" / ("run-asyncio" if self.name == "asyncio" else "run")

    @property
    def example(self) -> Path:
        """The example driver: `run [COMMUNITY]`. Both clients of Python share one."""
        return self.folder / "example" / "run"

    def build(self) -> None:
        """Compiles both programs; quick if nothing changed."""
        script = self.folder / "build"
        built = subprocess.run([script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        said = f"{built.stdout}{built.stderr}"
        assert built.returncode == 0, f"{script} failed:\n{said}"


def chosen() -> list[Language]:
    """Those that this run is about."""
    names = os.environ.get("METAGOV_CLIENTS") or ",".join(ALL)
    wrong = set(names.split(",")) - set(ALL)
    assert not wrong, f"METAGOV_CLIENTS: {', '.join(sorted(wrong))} is none of {', '.join(ALL)}"
    return [Language(name) for name in ALL if name in names.split(",")]
