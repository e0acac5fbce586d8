"""References within the API page: names in comments become links to where they stand."""

import re
from typing import Callable

# A name in backticks, or a word that can be nothing but a name: `Plugin.actions`,
# WatchEvents and ERROR_REASON_INTERNAL, but not "Token" at the start of a sentence.
NAME = re.compile(
    r"`(?P<quoted>[A-Z]\w*(?:\.\w+)*)`"
    r"|`[^`]*`"
    r"|\b(?P<bare>(?:[A-Z][a-z]+){2,}(?:\.\w+)*|[A-Z][a-z]+(?:\.[a-z_]+)+|ERROR_REASON_[A-Z_]+)\b"
)

# Where the page says how the messages of protobuf's own library are written in JSON.
WELL_KNOWN = "how-values-are-written"


def anchor(heading: str) -> str:
    """Where a heading is found: in lower case, without punctuation, `-` for a space."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def linker(known: set[str]) -> Callable[[str], str]:
    """Makes links of the known names in a text."""

    def link(match: re.Match) -> str:
        name = match["quoted"] or match["bare"]
        if not name or name.split(".")[0] not in known:
            return match[0]
        shown = f"`{name}`" if match["quoted"] or "_" in name else name
        return f"[{shown}](#{anchor(name.split('.')[0])})"

    return lambda text: NAME.sub(link, text)


def type_link(name: str) -> str:
    """A link to a message or an enum by its full name, such as `.metagov.v1.Process`."""
    short = name.rsplit(".", 1)[-1]
    place = WELL_KNOWN if name.startswith(".google.") else anchor(short)
    return f"[`{short}`](#{place})"
