"""The code in the READMEs of the Python and the Java client; those of the others are among
their own tests."""

import re
import subprocess

import pytest

from gateway import Gateway, environment
from languages import ROOT, Language, chosen

PYTHON = ROOT / "target" / "clients" / "python" / "bin" / "python"


@pytest.mark.skipif(Language("python") not in chosen(), reason="METAGOV_CLIENTS leaves out Python")
def test_python_readme(gateway):
    text = (Language("python").folder / "README.md").read_text()
    settings = {"METAGOV_ENDPOINT": f"http://{gateway.address}", "METAGOV_TOKEN": gateway.token}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    said = [output(block, settings) for block in blocks]
    assert re.match(r"\{'value': [1-6]\}\n$", said[0])
    assert said[1].startswith("community_changed ")
    assert "NOT_FOUND ERROR_REASON_COMMUNITY_NOT_FOUND {'community_id': 'nowhere'}" in said[3]
    assert "garden" in said[4]


def output(code, settings):
    """What a piece of code prints; it fails with what went wrong."""
    run = subprocess.run(
        [PYTHON, "-c", code], env=environment() | settings, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0, f"{code}\n{run.stderr}"
    return run.stdout


@pytest.mark.skipif(Language("java") not in chosen(), reason="METAGOV_CLIENTS leaves out Java")
def test_java_readme(tmp_path):
    text = (Language("java").folder / "README.md").read_text()
    first = re.search(r"```java\n(import .*?)```", text, re.DOTALL)[1]
    program = tmp_path / "first.jsh"
    program.write_text(f"{first}\n/exit\n")
    target = Language("java").folder / "target"
    classpath = f"{target / 'classes'}:{(target / 'classpath').read_text().strip()}"
    with Gateway(tmp_path) as gateway:
        settings = {"METAGOV_ENDPOINT": f"http://{gateway.address}", "METAGOV_TOKEN": gateway.token}
        run = subprocess.run(
            ["jshell", "--class-path", classpath, program],
            env=environment() | settings,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert re.search(r"^\{value=[1-6]\}$", run.stdout, re.MULTILINE), f"{run.stdout}{run.stderr}"
