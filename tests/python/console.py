"""Pages whose commands can be run: what they say, and whether what is printed fits it.

In ```console blocks `$ ` starts a command, `> ` continues it, and what follows is its
output. A ```python block is one command; its lines that begin with `#> ` are its output. In
outputs `…` stands for anything on its line, or alone on a line for any number of lines.
Ids and times are compared by shape, and white space not at all.
"""

import re
from typing import NamedTuple

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"


class Step(NamedTuple):
    line: int
    language: str
    command: str
    output: str


def steps(page: str) -> list[Step]:
    """The commands of all blocks that can be run, in order, with what they shall print."""
    found = []
    for block in re.finditer(r"^```(console|python)\n(.*?)^```$", page, re.M | re.S):
        first = page.count("\n", 0, block.start(2)) + 1
        read = commands if block[1] == "console" else script
        found += read(first, block[2].splitlines())
    return found


def commands(first: int, lines: list[str]) -> list[Step]:
    """The steps of a ```console block."""
    found = []
    for number, line in enumerate(lines, start=first):
        if line.startswith("$ "):
            found.append(Step(number, "console", line[2:], ""))
        elif line.startswith("> ") and not found[-1].output:
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line[2:]}")
        else:
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
    return found


def script(first: int, lines: list[str]) -> list[Step]:
    """The one step of a ```python block."""
    shown = [line[3:] for line in lines if line.startswith("#> ")]
    code = [line for line in lines if not line.startswith("#> ")]
    return [Step(first, "python", "\n".join(code), "\n".join(shown))]


def pattern(output: str) -> str:
    """An expression that fits what a page shows."""
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
