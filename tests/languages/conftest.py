"""What the tests of other languages share: a gateway of one's own."""

import sys
import tempfile
from pathlib import Path

import pytest

# The gateway as a child process and its stubs are those of the other tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import stubs

_made = tempfile.TemporaryDirectory()
stubs.OUT = Path(_made.name)  # Of its own, since several runs may go on at once.
stubs.generate()  # Before any test module imports metagov.v1.

from gateway import Gateway  # noqa: E402


@pytest.fixture
def gateway(tmp_path):
    """A gateway on an empty data folder."""
    with Gateway(tmp_path) as running:
        yield running
