"""What a database holds, read straight from it: no server code, no server."""

import sqlite3
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import psycopg
from psycopg.rows import dict_row

# Read in this order of columns; a table that this build lacks is empty.
ORDER = {"event": "position", "process": "id", "ballot": "process_id, voter, subject"}


@dataclass
class Dump:
    """The tables by name, each a list of rows. Ids are text, whatever the database says."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.tables.get(table, [])

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log, in the order of positions."""
        return self.rows("event")


def sqlite(file: Path) -> Dump:
    """All tables of a file that a gateway may have open."""
    db = sqlite3.connect(file, timeout=30)
    db.row_factory = sqlite3.Row
    try:
        # One transaction: the tables fit together.
        db.execute("BEGIN")
        names = [row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return _dump(names, lambda sql: [dict(row) for row in db.execute(sql)])
    finally:
        db.close()


def postgres(url: str) -> Dump:
    """All tables of a database."""
    with psycopg.connect(url, row_factory=dict_row) as db:
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        named = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = [row["tablename"] for row in named]
        return _dump(names, lambda sql: db.execute(sql).fetchall())


def _dump(names: list[str], query: Callable[[str], list[dict[str, Any]]]) -> Dump:
    dump = Dump()
    for name in names:
        if name.startswith(("sqlite_", "seaql_")):
            continue
        order = f" ORDER BY {ORDER[name]}" if name in ORDER else ""
        rows = query(f'SELECT * FROM "{name}"{order}')
        dump.tables[name] = [{k: _plain(v) for k, v in row.items()} for row in rows]
    return dump


def _plain(value: Any) -> Any:
    """SQLite keeps a uuid as 16 bytes and a truth as a number."""
    if isinstance(value, bytes) and len(value) == 16:
        return str(uuid.UUID(bytes=value))
    if isinstance(value, uuid.UUID):
        return str(value)
    return value
