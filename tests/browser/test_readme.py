"""The first driver in the README of the TypeScript client, word for word."""

import re
import subprocess

import pytest

from gateway import ROOT, Gateway, environment

CLIENT = ROOT / "clients" / "typescript"


@pytest.fixture
def empty(tmp_path, bundle):
    """A gateway without a community, and the client, compiled."""
    with Gateway(tmp_path) as running:
        yield running


@pytest.fixture
def driver():
    """The driver as a file of the package, which finds itself by its name."""
    text = (CLIENT / "README.md").read_text()
    file = CLIENT / "dist" / "readme.mjs"
    file.write_text(re.search(r"## A first driver\n\n```ts\n(.*?)```", text, re.DOTALL)[1])
    yield file
    file.unlink()


def test_the_first_driver(empty, driver):
    settings = {"METAGOV_ENDPOINT": f"http://{empty.address}", "METAGOV_TOKEN": empty.token}
    with subprocess.Popen(
        ["node", driver], env=environment() | settings, stdout=subprocess.PIPE, text=True
    ) as running:
        kinds = [running.stdout.readline().split()[-1] for _ in range(2)]
        running.kill()
    assert kinds == ["communityChanged", "installationChanged"]
