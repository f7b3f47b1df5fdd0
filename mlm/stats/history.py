"""The history of requests and model loads in ``MLM_HOME/stats.sqlite``."""

import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from mlm.stats.database import Schema, open_database
from mlm.stats.types import LoadStats, RequestStats

KEEP_S = 90 * 24 * 3600.0  # history older than this is deleted
MAX_GAPS = 4096  # token gaps kept of one request: 16 KiB

SCHEMA = Schema(
    version=1,
    script="""
    CREATE TABLE IF NOT EXISTS requests (
        finished_at REAL NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
        ok INTEGER NOT NULL, error TEXT, cache TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        queue_s REAL, ttft_s REAL, itl_s BLOB NOT NULL, e2e_s REAL NOT NULL
    );
    CREATE INDEX IF NOT EXISTS requests_by_time ON requests (finished_at);
    CREATE TABLE IF NOT EXISTS loads (
        finished_at REAL NOT NULL, model TEXT NOT NULL, ok INTEGER NOT NULL, load_s REAL NOT NULL,
        predicted_bytes INTEGER, actual_bytes INTEGER
    );
    CREATE INDEX IF NOT EXISTS loads_by_time ON loads (finished_at);
    """,
)
_REQUEST_COLUMNS = tuple(field.name for field in fields(RequestStats))
_LOAD_COLUMNS = tuple(field.name for field in fields(LoadStats))


def insert(connection: sqlite3.Connection, event: RequestStats | LoadStats) -> None:
    """Append one event."""
    if isinstance(event, RequestStats):
        table, columns = "requests", _REQUEST_COLUMNS
    else:
        table, columns = "loads", _LOAD_COLUMNS
    values = [getattr(event, column) for column in columns]
    if isinstance(event, RequestStats):
        values[columns.index("itl_s")] = array("f", event.itl_s[:MAX_GAPS]).tobytes()
    marks = ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)


def forget_old(connection: sqlite3.Connection, now: float) -> None:
    """Delete what is older than `KEEP_S`."""
    for table in ("requests", "loads"):
        connection.execute(f"DELETE FROM {table} WHERE finished_at < ?", (now - KEEP_S,))


def read_history(
    path: Path, *, since: float | None = None
) -> tuple[list[RequestStats], list[LoadStats]]:
    """Return what finished after ``since`` (Unix time), oldest first; a damaged file is empty."""
    if not path.exists():
        return [], []
    with closing(open_database(path, SCHEMA)) as connection:
        requests = [
            RequestStats(**row | {"ok": bool(row["ok"]), "itl_s": _read_gaps(row["itl_s"])})
            for row in _read(connection, "requests", _REQUEST_COLUMNS, since)
        ]
        loads = [
            LoadStats(**row | {"ok": bool(row["ok"])})
            for row in _read(connection, "loads", _LOAD_COLUMNS, since)
        ]
    return requests, loads


def _read(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], since: float | None
) -> Iterator[dict[str, Any]]:
    rows = connection.execute(
        f"SELECT {', '.join(columns)} FROM {table} WHERE finished_at > ? ORDER BY finished_at",
        (since or 0.0,),
    )
    for row in rows:
        yield dict(zip(columns, row, strict=True))


def _read_gaps(packed: bytes) -> tuple[float, ...]:
    gaps = array("f")
    gaps.frombytes(packed)
    return tuple(gaps)
