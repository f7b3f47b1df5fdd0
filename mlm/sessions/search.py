"""Messages found by their words, in SQLite's full-text index."""

import sqlite3
from typing import Any

from mlm.sessions.rows import N_SUMMARY, SUMMARY_COLUMNS, clean
from mlm.sessions.terms import CLOSE, OPEN, like, mark, parse_terms, split_marked
from mlm.sessions.types import Hit, Query, Summary

_SNIPPET_TOKENS = 20
_FIELDS = "messages.position, messages.role, messages.model, messages.at"


def search_messages(db: sqlite3.Connection, query: Query, limit: int) -> list[Hit]:
    """Return what ``query`` finds, last written first, at most ``limit`` (-1: all).

    Raises:
        UsageError: it looks for nothing.
    """
    terms = parse_terms(query.words)
    conditions: list[tuple[str, object]] = [
        (r"messages.text LIKE ? ESCAPE '\'", like(term)) for term in terms.literal
    ]
    if terms.match is not None:
        conditions.append(("words MATCH ?", terms.match))
    if query.role is not None:
        conditions.append(("messages.role = ?", query.role))
    if query.model is not None:
        conditions.append((r"messages.model LIKE ? ESCAPE '\'", like(query.model)))
    if query.since is not None:
        conditions.append(("messages.at >= ?", query.since))
    where = " AND ".join(condition for condition, _ in conditions)
    values = (*(value for _, value in conditions), limit)
    rows = db.execute(_select(has_match=terms.match is not None, where=where), clean(values))
    return [_to_hit(row, terms.literal) for row in rows]


def _select(*, has_match: bool, where: str) -> str:
    """Return the statement. The order is that of writing: a clock may have gone back."""
    if has_match:
        text = f"snippet(words, 0, '{OPEN}', '{CLOSE}', '…', {_SNIPPET_TOKENS})"
        source, order = "words JOIN messages ON messages.rowid = words.rowid", "words.rowid"
    else:
        text, source, order = "messages.text", "messages", "messages.rowid"
    return (
        f"SELECT {SUMMARY_COLUMNS}, {_FIELDS}, {text} FROM {source} "
        f"JOIN sessions ON sessions.id = messages.session "
        f"WHERE {where} ORDER BY {order} DESC LIMIT ?"
    )


def _to_hit(row: tuple[Any, ...], literal: tuple[str, ...]) -> Hit:
    summary, (position, role, model, at, text) = row[:N_SUMMARY], row[N_SUMMARY:]
    snippet = text if OPEN in text else mark(text, literal[0]) if literal else text
    return Hit(Summary(*summary), position, role, model, at, split_marked(snippet))
