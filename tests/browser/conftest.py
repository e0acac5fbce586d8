"""What the tests of the client in a browser share: the page, its server, a gateway."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# The gateway as a child process and the browser are those of the other tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import homes
import stubs

homes.check()
# Of its own, since several runs may go on at once.
_made = tempfile.TemporaryDirectory()
stubs.OUT = Path(_made.name) / "stubs"
stubs.generate()  # Before any test module imports metagov.v1.

from browser import Browser  # noqa: E402
from garden import plant  # noqa: E402
from gateway import ROOT, Gateway  # noqa: E402
from pages import Pages  # noqa: E402

CLIENT = ROOT / "clients" / "typescript"


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The page's script, with the client in it."""
    subprocess.run([CLIENT / "build"], check=True, stdin=subprocess.DEVNULL)
    return CLIENT / "dist" / "browser" / "bundle.js"


@pytest.fixture
def pages(bundle):
    """The server of the page."""
    with Pages(bundle) as running:
        yield running


@pytest.fixture
def browser(tmp_path) -> Browser:
    return Browser(tmp_path / "browser")


@pytest.fixture
def gateway(tmp_path, pages):
    """A gateway that pages of http://localhost may call, with the community `garden`."""
    with Gateway(tmp_path, settings={"METAGOV_CORS_ORIGINS": pages.origin}) as running:
        plant(running)
        yield running
