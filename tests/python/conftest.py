"""What the Python tests share: the stubs, a server of one's own, a fake Discourse."""

import pytest

import homes
import stubs

homes.check()
stubs.generate()  # Before any test module imports metagov.v1.

from discourse import FakeDiscourse  # noqa: E402
from gateway import Gateway  # noqa: E402


@pytest.fixture
def gateway(tmp_path):
    """A gateway on an empty data folder."""
    with Gateway(tmp_path) as running:
        yield running


@pytest.fixture
def discourse():
    """A Discourse without any posts, topics or users."""
    with FakeDiscourse() as running:
        yield running
