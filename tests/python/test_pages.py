"""The README is true, and so are the pages of `clients/docs`: their commands are run, and
what they print is compared with what is shown: see `console.py`.

Each page has a gateway of its own, with ports of its own, so that one that somebody runs is
left alone. What a page would call outside is on this machine instead.
"""

import re
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from console import pattern, steps
from gateway import BINARY, ROOT, Gateway, environment
from session import Python, Shell

PAGES = [
    "README.md",
    "clients/docs/exploring.md",
    "clients/docs/coming-from-the-original.md",
]

ADDRESS = "127.0.0.1:50051"
CRED = "https://metagov.github.io/sourcecred-instance"
DRIVER = "https://mydriver.org"

START = "make run"

# What the test has done already.
DONE_BY_TEST = {"make tools"}


@pytest.fixture
def clone(tmp_path):
    """A folder like a fresh clone in which `make tools` and a build were done."""
    folder = tmp_path / "clone"
    (folder / "target" / "debug").mkdir(parents=True)
    (folder / "target" / "debug" / "metagov").symlink_to(BINARY.resolve())
    (folder / "target" / "tools").symlink_to(ROOT / "target" / "tools")
    return folder


@pytest.fixture
def outside(tmp_path):
    """The address of what is a SourceCred instance, and a driver that takes what is posted."""
    (tmp_path / "cred").mkdir()
    accounts = ROOT / "tests" / "platforms" / "sourcecred"
    (tmp_path / "cred" / "output").symlink_to(accounts)
    handler = partial(Outside, directory=tmp_path / "cred")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Outside(SimpleHTTPRequestHandler):
    """Serves a folder, takes what is posted, and says nothing of it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


class Reader:
    """Does what a page says: its commands in a shell, its scripts in an interpreter."""

    def __init__(self, folder, gateway, here):
        self.folder = folder
        self.gateway = gateway
        self.here = here
        self.variables = environment() | {
            "METAGOV_ENDPOINT": f"http://{gateway.address}",
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }
        self.sessions = {"console": Shell(folder, self.variables)}

    def run(self, step) -> str:
        if step.command == START:
            self.gateway.start()
            return ""
        if step.command in DONE_BY_TEST:
            return ""
        if step.language not in self.sessions:
            self.sessions[step.language] = self._python()
        return self.sessions[step.language].run(self.localised(step.command))

    def localised(self, text: str) -> str:
        """With the addresses of this run for those that the page names."""
        for shown, real in self.here.items():
            text = text.replace(shown, real)
        return text

    def close(self) -> None:
        for session in self.sessions.values():
            session.child.kill()

    def _python(self) -> Python:
        """An interpreter with the Python client as its README installs it."""
        subprocess.run([ROOT / "clients" / "python" / "build"], check=True)
        program = ROOT / "target" / "clients" / "python" / "bin" / "python"
        token = {"METAGOV_TOKEN": self.gateway.token}
        return Python(program, self.folder, self.variables | token)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_prints_what_it_shows(page, clone, outside):
    # Nothing there says where a database is, so it is the file in the data folder.
    gateway = Gateway(clone, "metagov-data", kind="sqlite")
    here = {ADDRESS: gateway.address, CRED: outside, DRIVER: outside}
    reader = Reader(clone, gateway, here)
    try:
        for step in steps((ROOT / page).read_text()):
            output, shown = reader.run(step), reader.localised(step.output)
            if not re.fullmatch(pattern(shown), output):
                pytest.fail(
                    f"{page}:{step.line}: $ {step.command}\n"
                    f"shall print\n{shown}\nand prints\n{output}",
                    pytrace=False,
                )
        assert gateway.child, f"{page} starts no server"
    finally:
        reader.close()
        gateway.close()


def test_the_comparison_sees_a_difference():
    shown = '{\n  "id": "01900000-0000-7000-8000-000000000000",\n  "etag": "…"\n…\n}\n'
    true = '{"id":"019b2f2e-1c5e-7a30-9d0b-1f2a3b4c5d6e","etag":"x","more":{"a":1}}'
    assert re.fullmatch(pattern(shown), true)
    assert not re.fullmatch(pattern(shown), true.replace("etag", "tag"))
    assert not re.fullmatch(pattern(shown), true.replace("019b2f2e", "nothing"))
    assert not re.fullmatch(pattern("4\n"), "5\n")
