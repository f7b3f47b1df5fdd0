"""The history of requests and model loads in ``MLM_HOME/stats.sqlite``.

It holds figures, model ids and the names of keys; no prompts, no answers.
"""

import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from mlm.errors import ConflictError
from mlm.stats.database import Schema, open_database
from mlm.stats.digest import Digest
from mlm.stats.types import LoadStats, RequestStats

KEEP_S = 90 * 24 * 3600.0  # history older than this is deleted
KEEP_ROWS = 100_000  # requests, some 30 MB; by the order of writing, for a clock may go backwards

# What is on disk of a request; its id is for the log, where somebody may look for it.
_REQUEST_COLUMNS = tuple(f.name for f in fields(RequestStats) if f.name != "request_id")
_LOAD_COLUMNS = tuple(field.name for field in fields(LoadStats))
_KINDS = {
    **dict.fromkeys(("finished_at", "e2e_s", "load_s"), int | float),
    **dict.fromkeys(("queue_s", "ttft_s"), int | float | None),
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "status", "ok"), int),
    **dict.fromkeys(("model", "endpoint", "cache", "tenant"), str),
    **dict.fromkeys(("predicted_bytes", "actual_bytes"), int | None),
    "error": str | None,
    "itl_s": bytes,
}


def _digest_gaps(connection: sqlite3.Connection) -> None:
    """Bring version 1 up to date, which had all gaps of an answer, 16 KiB of them."""

    def pack(packed: bytes) -> bytes:
        gaps = array("f")
        gaps.frombytes(packed[: len(packed) // 4 * 4])
        return Digest(gaps).pack()

    connection.create_function("digest", 1, pack)
    connection.execute("ALTER TABLE requests ADD COLUMN status INTEGER NOT NULL DEFAULT 200")
    connection.execute("ALTER TABLE requests ADD COLUMN tenant TEXT NOT NULL DEFAULT ''")
    connection.execute("UPDATE requests SET itl_s = digest(itl_s)")


SCHEMA = Schema(
    version=2,
    script="""
    CREATE TABLE IF NOT EXISTS requests (
        finished_at REAL NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
        ok INTEGER NOT NULL, error TEXT, cache TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        queue_s REAL, ttft_s REAL, itl_s BLOB NOT NULL, e2e_s REAL NOT NULL,
        status INTEGER NOT NULL DEFAULT 200, tenant TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX IF NOT EXISTS requests_by_time ON requests (finished_at);
    CREATE TABLE IF NOT EXISTS loads (
        finished_at REAL NOT NULL, model TEXT NOT NULL, ok INTEGER NOT NULL, load_s REAL NOT NULL,
        predicted_bytes INTEGER, actual_bytes INTEGER
    );
    CREATE INDEX IF NOT EXISTS loads_by_time ON loads (finished_at);
    """,
    upgrades={1: _digest_gaps},
)


def insert_request(connection: sqlite3.Connection, event: RequestStats, gaps: bytes) -> None:
    """Append a request; ``gaps`` are the packed digest of those between its tokens."""
    values = {column: getattr(event, column) for column in _REQUEST_COLUMNS} | {"itl_s": gaps}
    _insert(connection, "requests", values)


def insert_load(connection: sqlite3.Connection, event: LoadStats) -> None:
    """Append a load."""
    _insert(connection, "loads", {column: getattr(event, column) for column in _LOAD_COLUMNS})


def forget_old(connection: sqlite3.Connection, now: float) -> None:
    """Delete what is older than `KEEP_S`, and what is too much."""
    for table in ("requests", "loads"):
        connection.execute(f"DELETE FROM {table} WHERE finished_at < ?", (now - KEEP_S,))
        connection.execute(
            f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - ?",
            (KEEP_ROWS,),
        )


def read_requests(
    path: Path, *, since: float | None = None
) -> Iterator[tuple[RequestStats, Digest]]:
    """Yield what ended after ``since`` (Unix time), oldest first, with the gaps between tokens.

    ``itl_s`` is empty. Rows that make no sense are passed over; a damaged file is put aside.

    Raises:
        ConflictError: the file cannot be read.
    """
    for row in _read(path, "requests", _REQUEST_COLUMNS, since):
        with suppress(ValueError):
            gaps = Digest.unpack(row["itl_s"])
            yield RequestStats(**row | {"ok": bool(row["ok"]), "itl_s": ()}), gaps


def read_loads(path: Path, *, since: float | None = None) -> Iterator[LoadStats]:
    """Yield the loads in the same way."""
    for row in _read(path, "loads", _LOAD_COLUMNS, since):
        yield LoadStats(**row | {"ok": bool(row["ok"])})


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(values))
    connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )


def _read(
    path: Path, table: str, columns: tuple[str, ...], since: float | None
) -> Iterator[dict[str, Any]]:
    try:
        if not path.exists():
            return
        with closing(open_database(path, SCHEMA)) as connection:
            rows = connection.execute(
                f"SELECT {', '.join(columns)} FROM {table} WHERE finished_at > ? "
                "ORDER BY finished_at",
                (since or 0.0,),
            )
            for row in rows:
                values = dict(zip(columns, row, strict=True))
                if all(isinstance(value, _KINDS[name]) for name, value in values.items()):
                    yield values
    except (OSError, sqlite3.Error) as error:
        raise ConflictError(f"{path} cannot be read: {error}", remedy="mlm ps") from error
