"""The README's table of settings says what `metagov serve --help` says."""

import re
import subprocess
from typing import NamedTuple

from gateway import BINARY, ROOT, environment


class Setting(NamedTuple):
    flag: str
    variable: str
    default: str
    meaning: str


def documented() -> list[Setting]:
    """The rows of the README's table, without the marks of code."""
    readme = (ROOT / "README.md").read_text().replace("`", "")
    rows = re.findall(r"^\| (--.*) \|$", readme, re.MULTILINE)
    return [Setting(*row.split(" | ")) for row in rows]


def explained() -> list[Setting]:
    """What the binary says of itself."""
    serve = [BINARY, "serve", "--help"]
    text = subprocess.check_output(serve, env=environment(), text=True)
    # A flag that is only set or not may do without its value.
    option = r"^ +(--[a-z0-9-]+)(?: <\w+>|\[=<\w+>\])\n(.*?)\[env: (\w+)"
    found = re.findall(option, text.replace("`", ""), re.MULTILINE | re.DOTALL)
    return [setting(*parts) for parts in found]


def setting(flag: str, text: str, variable: str) -> Setting:
    """A text is `Meaning. Default value. More.`, where the last two may be missing."""
    first = " ".join(re.split(r"\n\s*\n", text)[0].split())
    meaning, *more = re.split(r"\. |\.$", first)
    default = next((part for part in more if part.startswith("Default")), "none")
    return Setting(flag, variable, re.sub("^Default:? ", "", default), meaning)


def test_the_readme_has_every_setting_with_its_default():
    assert documented() == explained()
    assert len(documented()) > 40
