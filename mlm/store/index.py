"""The index of the store: which files there are, found fast. Rebuilt from disk when it is lost."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from mlm.errors import ConflictError, MlmError, UsageError
from mlm.stats.database import Schema, open_database, put_aside
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

    ``read_disk`` yields what is on disk; it is asked when the database is new, or was broken and
    has been put aside. Where the database cannot be used (a home that may not be written, a lock
    that is never let go) this run keeps its rows in memory, and the next one rebuilds.
    """

    def __init__(self, path: Path, read_disk: Callable[[], Iterable[Receipt]]) -> None:
        self._path = path
        self._read_disk = read_disk
        self._known: dict[Path, Receipt] | None = None  # what the database says, in its order
        self._known_version = 0
        try:
            self._db = open_database(path, _SCHEMA)
            self._fill()
        except (OSError, sqlite3.Error):
            self._use_memory()

    def put(self, receipt: Receipt) -> None:
        """Add a file, or replace what was known of its path."""
        self._write(*_insert("REPLACE", receipt))
        self._known = None

    def forget(self, path: Path) -> None:
        """Remove the file at ``path``."""
        self._write("DELETE FROM files WHERE path = ?", [_to_sql(str(path))])
        if self._known is not None:
            self._known.pop(path, None)

    def note_use(self, path: Path, at: float) -> None:
        """Remember that the file was used; ``at`` is Unix time. Not worth failing for."""
        self._known = None
        with contextlib.suppress(sqlite3.Error):
            values = (at, _to_sql(str(path)))
            self._db.execute("UPDATE files SET last_used_at = ? WHERE path = ?", values)

    def receipts(self) -> list[Receipt]:
        """Return every file, by ref and name; what is damaged is read from the disk instead."""
        try:
            return list(self._select().values())
        except (sqlite3.Error, ValueError, TypeError) as error:
            self._use_memory()
            if not isinstance(error, sqlite3.OperationalError):  # it will not get better by itself
                self._discard()
            return list(self._select().values())

    def rebuild(self) -> None:
        """Read everything from the disk again; only times of use are taken over.

        Raises:
            ConflictError: another process keeps the file locked.
            UsageError: it cannot be written.
        """
        used = {receipt.file.path: receipt.file.last_used_at for receipt in self.receipts()}
        if self._in_memory:
            self._begin_anew()
        found = [_with_use(receipt, used.get(receipt.file.path)) for receipt in self._read_disk()]
        try:
            self._replace_all(found)
        except sqlite3.Error as error:
            raise _cannot(self._path, error) from error

    def _select(self) -> dict[Path, Receipt]:
        """Return the rows by path; they are read once, and again when somebody has changed them."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if self._known is None or version != self._known_version:
            rows = self._db.execute(f"SELECT {_NAMES} FROM files ORDER BY ref, filename, path")
            receipts = [_parse(dict(zip(_COLUMNS, row, strict=True))) for row in rows]
            self._known = {receipt.file.path: receipt for receipt in receipts}
            self._known_version = version
        return self._known

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
            self._discard()

    def _discard(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _begin_anew(self) -> None:
        """Open a file of our own again, after what was there has been put aside if need be."""
        try:
            database = open_database(self._path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            if "locked" in str(error):
                raise _cannot(self._path, error) from error
            try:
                put_aside(self._path)
                database = open_database(self._path, _SCHEMA)
            except (OSError, sqlite3.Error) as second:
                raise _cannot(self._path, second) from second
        self._db.close()
        self._db = database

    @property
    def _in_memory(self) -> bool:
        return not self._db.execute("PRAGMA database_list").fetchone()[2]

    def _use_memory(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        self._known = None
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.executescript(_SCHEMA.script)
        self._fill()

    def _fill(self) -> None:
        """Rebuild a new index, in one transaction; another process may have been faster."""
        if self._db.execute("SELECT 1 FROM filled").fetchone():
            return
        self._replace_all(self._read_disk())

    def _replace_all(self, receipts: Iterable[Receipt]) -> None:
        found = list(receipts)
        self._known = None
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM files")
            for receipt in found:
                self._db.execute(*_insert("IGNORE", receipt))
            self._db.execute("DELETE FROM filled")
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
    statement = f"INSERT OR {conflict} INTO files ({_NAMES}) VALUES ({marks})"
    return statement, [_to_sql(value) for value in values]


def _to_sql(value: object) -> object:
    """Return ``value`` as SQLite can take it: a name that is no UTF-8 as its bytes."""
    if isinstance(value, str) and not value.isascii():
        raw = value.encode("utf-8", "surrogatepass")
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw
    return value


def _from_sql(value: object) -> Any:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def _parse(row: dict[str, Any]) -> Receipt:
    facts = {name: _from_sql(value) for name, value in row.items()}
    mtime_ns, inode = facts.pop("mtime_ns"), facts.pop("inode")
    file = ModelFile(**(facts | {"path": Path(facts["path"])}))
    names = (file.ref, file.model_id, file.filename, file.origin)
    if not all(isinstance(name, str) for name in names) or not isinstance(file.size_bytes, int):
        raise ValueError(f"a row for {file.path} is damaged")
    return Receipt(file, mtime_ns, inode)


def _with_use(receipt: Receipt, used_at: float | None) -> Receipt:
    """Return ``receipt`` with the later of two times of use."""
    times = [at for at in (receipt.file.last_used_at, used_at) if at is not None]
    if not times:
        return receipt
    return replace(receipt, file=replace(receipt.file, last_used_at=max(times)))


def _cannot(path: Path, error: Exception) -> MlmError:
    if "locked" in str(error):
        return ConflictError(f"another process keeps {path} locked", remedy="mlm ps")
    return UsageError(f"{path} cannot be written: {error}", remedy="name a folder you may write")
