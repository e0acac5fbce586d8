"""The table of results in clients/README.md: a row for each test, a column for each language."""

import re
from pathlib import Path

from languages import ALL, ROOT

README = ROOT / "clients" / "README.md"
BEGIN = "<!-- The table is written by tests/clients with METAGOV_WRITE_TABLE=1. -->"
END = "<!-- The end of the table. -->"

TITLES = {
    "rust": "Rust",
    "python": "Python",
    "asyncio": "Python, asyncio",
    "typescript": "TypeScript",
    "go": "Go",
    "java": "Java",
}


class Table:
    """What came of each row so far."""

    def __init__(self):
        # By the row's title: each language that took part, and whether it passed.
        self.rows: dict[str, dict[str, bool]] = {}

    def enter(self, title: str, results: dict[str, bool]) -> None:
        """Enters a row."""
        self.rows[title] = results

    def is_full(self) -> bool:
        """Whether every language took part in every row."""
        return bool(self.rows) and all(set(row) == set(ALL) for row in self.rows.values())

    def __str__(self) -> str:
        marks = {True: "✓", False: "✗", None: "–"}
        head = ["", *(TITLES[name] for name in ALL)]
        lines = [head, ["---", *(":-:" for _ in ALL)]]
        for title, row in self.rows.items():
            lines.append([title, *(marks[row.get(name)] for name in ALL)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def write(self, readme: Path = README) -> None:
        """Writes it between the marks."""
        if readme.exists():
            readme.write_text(self._placed(readme.read_text()))

    def differs(self, readme: Path = README) -> bool:
        """Whether another table is there."""
        return readme.exists() and self._placed(readme.read_text()) != readme.read_text()

    def _placed(self, text: str) -> str:
        place = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
        return place.sub(lambda _: f"{BEGIN}\n\n{self}\n\n{END}", text)
