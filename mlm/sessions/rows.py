"""Conversations as rows of SQLite, and back."""

import json
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from typing import Any

from mlm.sessions.types import Message, Picture, Summary

_SUMMARY = tuple(field.name for field in fields(Summary))
_MESSAGE = tuple(field.name for field in fields(Message) if field.name != "pictures")
_PICTURE = tuple(field.name for field in fields(Picture))
SUMMARY_COLUMNS = ", ".join(f"sessions.{name}" for name in _SUMMARY)
N_SUMMARY = len(_SUMMARY)
_ID_BYTES = 4


def insert_summary(db: sqlite3.Connection, summary: Summary) -> None:
    """Add a conversation that has no messages yet."""
    _insert(db, "sessions", _SUMMARY, astuple(summary))


def update_summary(db: sqlite3.Connection, summary: Summary) -> None:
    """Write what is known of a conversation over what was."""
    columns = ", ".join(f"{name} = ?" for name in _SUMMARY)
    db.execute(
        f"UPDATE sessions SET {columns} WHERE id = ?", clean((*astuple(summary), summary.id))
    )


def insert_messages(
    db: sqlite3.Connection, session: str, after: int, messages: Sequence[Message]
) -> None:
    """Add messages to a conversation that has ``after`` of them."""
    columns = ("session", "position", *_MESSAGE)
    for position, message in enumerate(messages, after):
        *values, figures = (getattr(message, name) for name in _MESSAGE)
        _insert(db, "messages", columns, (session, position, *values, json.dumps(dict(figures))))
        for number, picture in enumerate(message.pictures):
            shown = (getattr(picture, name) for name in _PICTURE)
            columns_of_it = ("session", "position", "number", *_PICTURE)
            _insert(db, "pictures", columns_of_it, (session, position, number, *shown))


def read_summaries(db: sqlite3.Connection, rest: str, *values: object) -> list[Summary]:
    """Return the conversations that the ``rest`` of the statement (WHERE, ORDER BY …) chooses."""
    rows = db.execute(f"SELECT {SUMMARY_COLUMNS} FROM sessions {rest}", clean(values))
    return [Summary(*row) for row in rows]


def read_messages(db: sqlite3.Connection, session: str) -> tuple[Message, ...]:
    """Return the messages of a conversation in their order."""
    rows = db.execute(
        f"SELECT position, {', '.join(_MESSAGE)} FROM messages WHERE session = ? ORDER BY position",
        (session,),
    )
    pictures = _read_pictures(db, session)
    return tuple(
        _to_message(
            dict(zip(_MESSAGE, row, strict=True)) | {"pictures": pictures.get(position, ())}
        )
        for position, *row in rows
    )


def next_revision(db: sqlite3.Connection) -> int:
    """Return a number that no writing had before."""
    (last,) = db.execute("SELECT max(revision) FROM sessions").fetchone()
    return (last or 0) + 1


def new_id(db: sqlite3.Connection) -> str:
    """Return an id that no conversation has."""
    while True:
        made = secrets.token_hex(_ID_BYTES)
        if not read_summaries(db, "WHERE id = ?", made):
            return made


def clean(values: Iterable[object]) -> tuple[Any, ...]:
    """Return ``values`` for a statement; half a surrogate pair, which UTF-8 has no bytes for, is ?.

    Models send such halves, and shells hand on bytes that are no text.
    """
    return tuple(
        value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for value in values
    )


def _insert(
    db: sqlite3.Connection, table: str, columns: Sequence[str], values: Iterable[object]
) -> None:
    marks = ", ".join("?" * len(columns))
    db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", clean(values))


def _read_pictures(db: sqlite3.Connection, session: str) -> dict[int, tuple[Picture, ...]]:
    """Return the pictures of a conversation by the position of their message."""
    found: dict[int, tuple[Picture, ...]] = {}
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'pictures'").fetchone():
        return found  # a file of an earlier mlm that may only be read
    rows = db.execute(
        f"SELECT position, {', '.join(_PICTURE)} FROM pictures WHERE session = ?"
        " ORDER BY position, number",
        (session,),
    )
    for position, *row in rows:
        found[position] = (*found.get(position, ()), Picture(*row))
    return found


def _to_message(row: dict[str, Any]) -> Message:
    return Message(
        **row
        | {
            "stopped": bool(row["stopped"]),
            "pinned": bool(row["pinned"]),
            "figures": json.loads(row["figures"]),
        }
    )
