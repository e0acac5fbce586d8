"""Every package has the version of the server: who upgrades one finds the other."""

import json
import re
import tomllib
from xml.etree import ElementTree

import pytest

from languages import CLIENTS, ROOT


def rust() -> str:
    package = tomllib.loads((CLIENTS / "rust" / "Cargo.toml").read_text())["package"]
    return server() if package["version"] == {"workspace": True} else package["version"]


def python() -> str:
    return tomllib.loads((CLIENTS / "python" / "pyproject.toml").read_text())["project"]["version"]


def typescript() -> str:
    return json.loads((CLIENTS / "typescript" / "package.json").read_text())["version"]


def java() -> str:
    pom = ElementTree.parse(CLIENTS / "java" / "pom.xml")
    return pom.findtext("{http://maven.apache.org/POM/4.0.0}version")


def go() -> str:
    return re.search(r'^const Version = "(.*)"$', (CLIENTS / "go" / "client.go").read_text(), re.M)[1]


def server() -> str:
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


@pytest.mark.parametrize("client", [rust, python, typescript, go, java], ids=lambda of: of.__name__)
def test_the_version_is_the_servers(client):
    assert re.fullmatch(r"\d+\.\d+\.\d+", server())
    assert client() == server()
