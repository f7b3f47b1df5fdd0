"""The file ``MLM_HOME/sessions.sqlite``: its tables, and how it is opened without losing any.

Conversations cannot be had again. A damaged file is put aside under a name of its own, with all
that belongs to it; one of a newer mlm is left alone; one that may only be read is read.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mlm.errors import ConflictError, DiskSpaceError, IntegrityError, MlmError
from mlm.stats.database import OtherVersionError, Schema, is_broken, open_sound

SCHEMA = Schema(
    version=1,
    script="""
    CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, ref TEXT NOT NULL,
        created_at REAL NOT NULL, updated_at REAL NOT NULL, n_messages INTEGER NOT NULL,
        forked_from TEXT, revision INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS sessions_by_revision ON sessions (revision);
    CREATE TABLE IF NOT EXISTS messages (
        rowid INTEGER PRIMARY KEY, session TEXT NOT NULL, position INTEGER NOT NULL,
        role TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL, typed TEXT,
        model TEXT, thinking TEXT, stopped INTEGER NOT NULL, pinned INTEGER NOT NULL,
        figures TEXT NOT NULL,
        UNIQUE (session, position)
    );
    CREATE TABLE IF NOT EXISTS pictures (
        session TEXT NOT NULL, position INTEGER NOT NULL, number INTEGER NOT NULL,
        name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (session, position, number)
    );
    CREATE TRIGGER IF NOT EXISTS message_hidden AFTER DELETE ON messages BEGIN
        DELETE FROM pictures WHERE session = old.session AND position = old.position;
    END;
    CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
        text, content = 'messages', tokenize = 'unicode61 remove_diacritics 2'
    );
    CREATE TRIGGER IF NOT EXISTS message_said AFTER INSERT ON messages BEGIN
        INSERT INTO words (rowid, text) VALUES (new.rowid, new.text);
    END;
    CREATE TRIGGER IF NOT EXISTS message_unsaid AFTER DELETE ON messages BEGIN
        INSERT INTO words (words, rowid, text) VALUES ('delete', old.rowid, old.text);
    END;
    """,
)

_NOT_MINE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def open_sessions(path: Path, wait_s: float) -> tuple[sqlite3.Connection, Path | None]:
    """Return a connection, and where a damaged file was put if there was one.

    ``wait_s`` is how long to wait for somebody else's writing.

    Raises:
        OSError, sqlite3.Error: it cannot be had at all.
    """
    aside = None
    try:
        connection = _open_sound(path, wait_s)
    except OtherVersionError:
        raise
    except sqlite3.DatabaseError as error:
        if is_broken(error):
            aside = _put_aside(path)
            connection = _open_sound(path, wait_s)
        elif _family(error) in _NOT_MINE and path.exists():
            connection = _open_to_read(path)
        else:
            raise
    except PermissionError:
        connection = _open_to_read(path)
    return connection, aside


def _open_sound(path: Path, wait_s: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = open_sound(path, SCHEMA, wait_s=wait_s)
    connection.execute("PRAGMA synchronous = FULL")  # a turn outlives a power cut, too
    connection.execute("PRAGMA secure_delete = ON")  # what is removed is gone from the file
    return connection


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open what may not be written. Without a write-ahead log to share nobody can be writing."""
    for options in ("mode=ro", "immutable=1"):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{options}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("SELECT count(*) FROM sessions").fetchone()
        except sqlite3.Error:
            connection.close()
            if options == "immutable=1":
                raise
        else:
            return connection
    raise AssertionError("unreachable")


def _put_aside(path: Path) -> Path:
    """Rename a damaged file and its log to a name that nothing has, and return it."""
    stem = f"{path.name}.broken-{datetime.now():%Y%m%d-%H%M%S}"
    aside, number = path.with_name(stem), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    path.rename(aside)
    for companion in ("-wal", "-shm"):
        belonging = path.with_name(path.name + companion)
        if belonging.exists():
            belonging.rename(aside.with_name(aside.name + companion))
    return aside


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Say what keeps conversations from being read or written in words for people.

    Raises:
        ConflictError: somebody else has the file, or it may not be used, or a newer mlm wrote it.
        DiskSpaceError: the disk is full.
        IntegrityError: it has just been found to be damaged.
    """
    try:
        yield
    except OtherVersionError as error:
        raise ConflictError(
            f"{path} was written by a newer mlm (version {error.version} of the file)",
            remedy="update mlm, or use another MLM_HOME",
        ) from error
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise ConflictError(f"cannot use {path}: {why}", remedy=f"ls -ld {path.parent}") from error


def _explain(path: Path, error: sqlite3.Error) -> MlmError:
    family = _family(error)
    if family == sqlite3.SQLITE_FULL:
        return DiskSpaceError(f"cannot write {path}: the disk is full", remedy="mlm df")
    if family in _BUSY:
        return ConflictError(
            f"{path} is locked by another process", remedy="end that process, or try again"
        )
    if is_broken(error):
        return IntegrityError(
            f"{path} is damaged: {error}", remedy="mlm sessions list puts it aside and begins anew"
        )
    return ConflictError(f"cannot use {path}: {error}", remedy=f"ls -ld {path.parent}")


def _family(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code (sqlite.org/rescode.html)."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
