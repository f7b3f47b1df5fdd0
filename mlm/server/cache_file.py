"""The file of kept answers, ``MLM_HOME/responses.sqlite``: its tables, its limits, its upkeep.

What reads an answer in it is `mlm.server.cache`; nothing here needs what serving needs.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlm.errors import ConflictError
from mlm.stats.database import Schema, open_database

SCHEMA = Schema(
    version=2,
    script="""
    CREATE TABLE IF NOT EXISTS answers (
        key BLOB PRIMARY KEY, model TEXT NOT NULL, created_at REAL NOT NULL, used_at REAL NOT NULL,
        expires_at REAL NOT NULL, size INTEGER NOT NULL, answer TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used_at, size);
    CREATE TABLE IF NOT EXISTS templates (
        model_identity TEXT PRIMARY KEY, sha256 TEXT NOT NULL, uses_date INTEGER NOT NULL
    );
    """,
)


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """What the cache may hold; the least recently used answers go first."""

    max_entries: int = 10_000
    max_bytes: int = 256 * 1024**2
    max_entry_bytes: int = 1024**2


def prune(connection: sqlite3.Connection, limits: CacheLimits) -> int:
    """Delete what is too old or over the limits; return how many answers went."""
    now = time.time()
    gone = connection.execute("DELETE FROM answers WHERE expires_at < ?", (now,)).rowcount
    gone += connection.execute(
        """
        DELETE FROM answers WHERE key IN (
            SELECT key FROM (
                SELECT key, row_number() OVER newest_first AS place,
                       sum(size) OVER newest_first AS bytes
                FROM answers WINDOW newest_first AS (ORDER BY used_at DESC, key)
            ) WHERE place > ? OR bytes > ?
        )
        """,
        (limits.max_entries, limits.max_bytes),
    ).rowcount
    return gone


def clear(connection: sqlite3.Connection) -> int:
    """Delete all answers; return how many there were."""
    return connection.execute("DELETE FROM answers").rowcount


def read_cache(path: Path) -> list[dict[str, Any]]:
    """Return model, entries, bytes and times of what is stored, the largest model first.

    Raises:
        ConflictError: the file cannot be read.
    """
    try:
        if not path.exists():
            return []
        with closing(open_database(path, SCHEMA)) as connection:
            rows = connection.execute(
                "SELECT model, count(*), sum(size), min(created_at), max(used_at) FROM answers "
                "WHERE expires_at >= ? GROUP BY model ORDER BY sum(size) DESC, model",
                (time.time(),),
            ).fetchall()
    except (OSError, sqlite3.Error) as error:
        raise ConflictError(f"{path} cannot be read: {error}", remedy="mlm ps") from error
    names = ("model", "entries", "bytes", "oldest_at", "last_used_at")
    return [dict(zip(names, row, strict=True)) for row in rows]


def edit_cache(path: Path, edit: Callable[[sqlite3.Connection], int]) -> int:
    """Return what ``edit`` returns; without a cache there is nothing to do.

    Raises:
        ConflictError: another process keeps the file locked, or it cannot be written.
    """
    if not path.exists():
        return 0
    try:
        with closing(open_database(path, SCHEMA)) as connection:
            return edit(connection)
    except (OSError, sqlite3.Error) as error:
        raise ConflictError(f"{path} cannot be changed: {error}", remedy="mlm ps") from error
