"""What runs the commands of a page: a shell, and an interpreter of Python."""

import json
import subprocess
import threading
from pathlib import Path

from gateway import PATIENCE

# What a session prints after each command.
END = "-- end of the command --"


class Session:
    """A program that runs one command after the other: what they define lives on."""

    def __init__(self, program: list[str], folder: Path, variables: dict[str, str]):
        self.child = subprocess.Popen(
            program,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sent(self, command: str) -> str:
        """How the program is told to run a command and to print END on a line of its own."""
        raise NotImplementedError

    def run(self, command: str) -> str:
        """What a command prints, on both its outputs."""
        watchdog = threading.Timer(PATIENCE, self.child.kill)
        watchdog.start()
        self.child.stdin.write(self.sent(command))
        self.child.stdin.flush()
        output = []
        for line in self.child.stdout:
            if line.rstrip("\n") == END:
                watchdog.cancel()
                return "".join(output)
            output.append(line)
        raise AssertionError(f"no end within {PATIENCE} s: {command}\n{''.join(output)}")


class Shell(Session):
    """One bash for all commands of a page."""

    def __init__(self, folder: Path, variables: dict[str, str]):
        super().__init__(["bash", "--norc"], folder, variables)

    def sent(self, command: str) -> str:
        return f"{{ {command}\n}} < /dev/null\nprintf '\\n%s\\n' '{END}'\n"


class Python(Session):
    """One interpreter for all scripts of a page."""

    LOOP = f"""
import json, sys, traceback
names = {{}}
for line in sys.stdin:
    try:
        exec(json.loads(line), names)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
    print("\\n{END}", flush=True)
"""

    def __init__(self, program: Path, folder: Path, variables: dict[str, str]):
        super().__init__([str(program), "-c", self.LOOP], folder, variables)

    def sent(self, command: str) -> str:
        return json.dumps(command) + "\n"
