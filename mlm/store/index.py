"""The index of the store: which files there are, found fast. Rebuilt from disk when it is lost."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mlm.stats.database import Schema, open_database
from mlm.store.receipt import Receipt
from mlm.store.types import ModelFile

_FACTS = tuple(field.name for field in fields(ModelFile) if field.name not in ("path", "n_files"))
_COLUMNS = ("path", *_FACTS, "mtime_ns", "inode")
# `commit` is a word of SQL, hence the quotes.
_NAMES = ", ".join(f'"{column}"' for column in _COLUMNS)
_SCHEMA = Schema(
    version=2,
    script="""
        CREATE TABLE IF NOT EXISTS files (
            path TEXT PRIMARY KEY, ref TEXT NOT NULL, model_id TEXT NOT NULL, model TEXT,
            quant TEXT, repo_id TEXT, "commit" TEXT, filename TEXT NOT NULL,
            size_bytes INTEGER NOT NULL, sha256 TEXT, verified_at REAL, origin TEXT NOT NULL,
            last_used_at REAL, mtime_ns INTEGER NOT NULL, inode INTEGER
        );
        CREATE TABLE IF NOT EXISTS filled (at REAL NOT NULL);
    """,
)


class Index:
    """A row per file. Close it, or the database stays open.

    ``rebuild`` yields what is on disk; it is asked when the database is new, or was broken and has
    been put aside. Where the database cannot be used (a home that may not be written, a lock that
    is never let go) this run keeps its rows in memory, and the next one rebuilds.
    """

    def __init__(self, path: Path, rebuild: Callable[[], Iterable[Receipt]]) -> None:
        self._path = path
        self._rebuild = rebuild
        try:
            self._db = open_database(path, _SCHEMA)
            self._fill()
        except (OSError, sqlite3.Error):
            self._use_memory()

    def put(self, receipt: Receipt) -> None:
        """Add a file, or replace what was known of its path."""
        self._write(*_insert("REPLACE", receipt))

    def forget(self, path: Path) -> None:
        """Remove the file at ``path``."""
        self._write("DELETE FROM files WHERE path = ?", [str(path)])

    def note_use(self, path: Path, at: float) -> None:
        """Remember that the file was used; ``at`` is Unix time. Not worth failing for."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("UPDATE files SET last_used_at = ? WHERE path = ?", (at, str(path)))

    def receipts(self) -> list[Receipt]:
        """Return every file, by ref and name."""
        rows = self._db.execute(f"SELECT {_NAMES} FROM files ORDER BY ref, filename, path")
        return [_parse(dict(zip(_COLUMNS, row, strict=True))) for row in rows]

    def close(self) -> None:
        """Give the database back."""
        self._db.close()

    def _write(self, statement: str, values: list[Any]) -> None:
        """Change a row; when that fails, delete the file, so that the next run rebuilds it."""
        try:
            self._db.execute(statement, values)
        except sqlite3.Error:
            self._use_memory()
            self._db.execute(statement, values)
        if self._in_memory:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @property
    def _in_memory(self) -> bool:
        return not self._db.execute("PRAGMA database_list").fetchone()[2]

    def _use_memory(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.executescript(_SCHEMA.script)
        self._fill()

    def _fill(self) -> None:
        """Rebuild a new index, in one transaction; another process may have been faster."""
        if self._db.execute("SELECT 1 FROM filled").fetchone():
            return
        found = list(self._rebuild())
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for receipt in found:
                self._db.execute(*_insert("IGNORE", receipt))
            self._db.execute("INSERT INTO filled VALUES (unixepoch())")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _insert(conflict: str, receipt: Receipt) -> tuple[str, list[Any]]:
    facts = asdict(receipt.file)
    values = [str(receipt.file.path), *(facts[name] for name in _FACTS)]
    values += [receipt.mtime_ns, receipt.inode]
    marks = ", ".join("?" * len(_COLUMNS))
    return f"INSERT OR {conflict} INTO files ({_NAMES}) VALUES ({marks})", values


def _parse(row: dict[str, Any]) -> Receipt:
    mtime_ns, inode = row.pop("mtime_ns"), row.pop("inode")
    return Receipt(ModelFile(**(row | {"path": Path(row["path"])})), mtime_ns, inode)
