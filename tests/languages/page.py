"""The page clients/any-language.md: its programs and its commands, by section."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from gateway import ROOT, environment

PAGE = ROOT / "clients" / "any-language.md"

# Where the address of the gateway stands in a command.
ADDRESS = "127.0.0.1:50051"


class Section:
    """One section, whose commands are run in a folder."""

    def __init__(self, title: str, folder: Path):
        text = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
        self._blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        self._folder = folder
        folder.mkdir()

    def write(self, kind: str, name: str) -> None:
        """Makes a file of the section's block of that kind."""
        [text] = [text for of, text in self._blocks if of == kind]
        (self._folder / name).write_text(text)

    @property
    def commands(self) -> list[str]:
        """The commands, in their order."""
        [text] = [text for of, text in self._blocks if of == "console"]
        return text.replace("\n> ", "\n").removeprefix("$ ").rstrip("\n").split("\n$ ")

    def run(self, command: str) -> None:
        """Runs a command to its end; it must be content."""
        done = subprocess.run(
            shell(command), cwd=self._folder, env=variables(), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def start(self, command: str, address: str, **more: str) -> subprocess.Popen:
        """Starts a command with another address than the page's."""
        assert ADDRESS in command, command
        line = shell(f"exec {command.replace(ADDRESS, address)}")
        return subprocess.Popen(
            line, cwd=self._folder, env=variables() | more, stdout=subprocess.PIPE, text=True
        )


def shell(command: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", command]


def variables() -> dict[str, str]:
    """Those that the page speaks of, and the tools of `make tools`."""
    tools = ROOT / "target" / "tools" / "bin"
    return environment() | {"METAGOV": str(ROOT), "PATH": f"{tools}:{os.environ['PATH']}"}


def missing(*tools: str) -> str:
    """Those that are not installed."""
    return ", ".join(tool for tool in tools if not shutil.which(tool, path=variables()["PATH"]))
