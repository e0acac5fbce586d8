"""The README is true: its ```console blocks are run, and their output is compared.

Only the port is another one, so that a gateway that somebody runs is left alone.

`$ ` starts a command, `> ` continues it, and what follows is its output. There `…` stands
for anything on its line, or alone on a line for any number of lines. Ids and times are
compared by shape, and white space not at all.
"""

import re
import subprocess
import threading
from typing import NamedTuple

import pytest

from gateway import BINARY, PATIENCE, ROOT, Gateway, environment

ADDRESS = "127.0.0.1:50051"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"

# What the test has done already.
DONE_BY_TEST = {"make tools"}


class Step(NamedTuple):
    line: int
    command: str
    output: str


def steps(readme: str) -> list[Step]:
    """The commands of all console blocks, in order, with what they shall print."""
    found, inside = [], False
    for number, line in enumerate(readme.splitlines(), start=1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Step(number, line[2:], ""))
        elif inside and line.startswith("> ") and not found[-1].output:
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line[2:]}")
        elif inside:
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
    return found


def pattern(output: str) -> str:
    """An expression that fits what the README shows."""
    lines = []
    for line in output.splitlines():
        if line.strip() == "…":
            lines.append(r"(?s:.*?)")
            continue
        parts = re.split(f"({UUID}|{TIME}|…|\\s+)", line.strip())
        lines.append("".join(shape(part) for part in parts))
    return r"\s*".join(["", *lines, ""])


def shape(part: str) -> str:
    if part == "…":
        return r"[^\n]*?"
    for known in (UUID, TIME):
        if re.fullmatch(known, part):
            return known
    return r"\s*" if part.isspace() else re.escape(part)


class Shell:
    """One bash for all commands: variables and functions live on."""

    def __init__(self, folder, address):
        variables = {
            "METAGOV_ENDPOINT": f"http://{address}",
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }
        self.bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment() | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        """What a command prints, on both its outputs."""
        end = "-- end of the command --"
        watchdog = threading.Timer(PATIENCE, self.bash.kill)
        watchdog.start()
        self.bash.stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '\\n%s\\n' '{end}'\n")
        self.bash.stdin.flush()
        output = []
        for line in self.bash.stdout:
            if line.rstrip("\n") == end:
                watchdog.cancel()
                return "".join(output)
            output.append(line)
        raise AssertionError(f"no end within {PATIENCE} s: {command}\n{''.join(output)}")


@pytest.fixture
def clone(tmp_path):
    """A folder like a fresh clone in which `make tools` and a build were done."""
    folder = tmp_path / "clone"
    (folder / "target" / "debug").mkdir(parents=True)
    (folder / "target" / "debug" / "metagov").symlink_to(BINARY.resolve())
    (folder / "target" / "tools").symlink_to(ROOT / "target" / "tools")
    return folder


def test_every_command_of_the_readme_prints_what_it_shows(clone):
    gateway = Gateway(clone, "metagov-data")
    shell = Shell(clone, gateway.address)
    try:
        for step in steps((ROOT / "README.md").read_text()):
            if step.command == "make run":
                gateway.start()
            elif step.command not in DONE_BY_TEST:
                output = shell.run(step.command.replace(ADDRESS, gateway.address))
                if not re.fullmatch(pattern(step.output), output):
                    pytest.fail(
                        f"README.md:{step.line}: $ {step.command}\n"
                        f"shall print\n{step.output}\nand prints\n{output}",
                        pytrace=False,
                    )
        assert gateway.child, "the README starts no server"
    finally:
        shell.bash.kill()
        gateway.kill()


def test_the_comparison_sees_a_difference():
    shown = '{\n  "id": "01900000-0000-7000-8000-000000000000",\n  "etag": "…"\n…\n}\n'
    true = '{"id":"019b2f2e-1c5e-7a30-9d0b-1f2a3b4c5d6e","etag":"x","more":{"a":1}}'
    assert re.fullmatch(pattern(shown), true)
    assert not re.fullmatch(pattern(shown), true.replace("etag", "tag"))
    assert not re.fullmatch(pattern(shown), true.replace("019b2f2e", "nothing"))
    assert not re.fullmatch(pattern("4\n"), "5\n")
