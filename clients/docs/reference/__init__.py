"""The two pages that are generated: the API from the comments in `proto/`, the catalogue
of plugins from their schemas.

`contract.py` and `files.py` read the one, `catalogue.py` and `schemas.py` the other; the
templates say how a page looks, and `links.py` makes references of names. Kept generators
for proto files write a site of many pages, and those that take a template have seen no
release for years: so the shape is a template here, and buf, protobuf and Jinja2 do the work.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reference import catalogue, contract

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent
ROOT = FOLDER.parents[1]


def pages() -> dict[str, str]:
    """What each generated page shall say, by its name in `clients/docs`."""
    return {
        "api.md": _page("api.md.j2", contract.read(ROOT)),
        "catalogue.md": _page("catalogue.md.j2", catalogue.read(ROOT)),
    }


def _page(template: str, facts: dict) -> str:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    return environment.get_template(template).render(facts)


def cell(text: str) -> str:
    """Text as it may stand in a cell of a table, where a line is a line."""
    paragraphs = text.strip().split("\n\n")
    return "<br>".join(" ".join(part.split()) for part in paragraphs).replace("|", "\\|")
