"""The conversations of this machine: written turn by turn, found again by id or by word."""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from mlm.errors import ConflictError, NotFoundError
from mlm.sessions.database import explaining, open_sessions
from mlm.sessions.rows import (
    clean,
    insert_messages,
    insert_summary,
    new_id,
    next_revision,
    read_messages,
    read_summaries,
    update_summary,
)
from mlm.sessions.types import Hit, Message, Query, Session, Summary
from mlm.stats.database import BUSY_TIMEOUT_S, is_broken

T = TypeVar("T")


class MovedOnError(ConflictError):
    """Somebody else has written this conversation meanwhile, or removed it."""

    code = "session_moved_on"


class Sessions:
    """The file of conversations. Close it, or it stays open; the first writing makes it.

    Everything raises `ConflictError` when the file cannot be used or is locked for longer than
    ``wait_s``, `DiskSpaceError` when the disk is full, `IntegrityError` when damage is met.
    A damaged file is put aside when it is opened; ``on_put_aside`` is told where.
    """

    def __init__(
        self,
        path: Path,
        *,
        wait_s: float = BUSY_TIMEOUT_S,
        on_put_aside: Callable[[Path], object] = lambda _aside: None,
    ) -> None:
        self._path, self._wait_s, self._on_put_aside = path, wait_s, on_put_aside
        self._db: sqlite3.Connection | None = None

    def __enter__(self) -> "Sessions":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
        if self._db is not None:
            self._db.close()
        self._db = None

    def begin(
        self,
        messages: Sequence[Message],
        *,
        title: str,
        model: str,
        ref: str,
        forked_from: str | None = None,
    ) -> Summary:
        """Keep a new conversation, of at least one message."""

        def work(db: sqlite3.Connection) -> Summary:
            summary = Summary(
                id=new_id(db),
                title=title,
                model=model,
                ref=ref,
                created_at=messages[0].at,
                updated_at=messages[-1].at,
                n_messages=len(messages),
                forked_from=forked_from,
                revision=next_revision(db),
            )
            insert_summary(db, summary)
            insert_messages(db, summary.id, 0, messages)
            return summary

        return self._write(work)

    def write(self, known: Summary, messages: Sequence[Message], *, after: int) -> Summary:
        """Let ``messages`` follow the first ``after`` ones of a conversation, instead of the rest.

        Its model and ref become those of ``known``. A conversation of which nothing is left is
        deleted.

        Raises:
            MovedOnError: it is no longer the conversation that was ``known``.
        """

        def work(db: sqlite3.Connection) -> Summary:
            found = next(iter(read_summaries(db, "WHERE id = ?", known.id)), None)
            if found is None or found.revision != known.revision:
                raise MovedOnError(f"the conversation {known.id} was changed by another process")
            db.execute(
                "DELETE FROM messages WHERE session = ? AND position >= ?", (known.id, after)
            )
            insert_messages(db, known.id, after, messages)
            written = replace(
                known,
                title=found.title,
                updated_at=messages[-1].at if messages else found.updated_at,
                n_messages=after + len(messages),
                revision=next_revision(db),
            )
            if written.n_messages:
                update_summary(db, written)
            else:
                db.execute("DELETE FROM sessions WHERE id = ?", (known.id,))
            return written

        return self._write(work)

    def rename(self, known: Summary, title: str) -> Summary:
        """Give a conversation another title."""
        self._write(
            lambda db: db.execute(
                "UPDATE sessions SET title = ? WHERE id = ?", clean((title, known.id))
            )
        )
        return replace(known, title=title)

    def remove(self, ids: Sequence[str]) -> None:
        """Delete conversations so that their words are in no page of the file any more."""

        def work(db: sqlite3.Connection) -> None:
            for known in ids:
                db.execute("DELETE FROM messages WHERE session = ?", (known,))
                db.execute("DELETE FROM sessions WHERE id = ?", (known,))
            db.execute("INSERT INTO words (words) VALUES ('optimize')")  # or it remembers them

        self._write(work)
        with contextlib.suppress(sqlite3.Error):  # where somebody reads, the next one does it
            assert self._db is not None
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def latest(self) -> Summary | None:
        """Return the conversation that was written last; None where there is none."""
        return next(iter(self.summaries(limit=1)), None)

    def summaries(self, *, limit: int = -1, before: float | None = None) -> list[Summary]:
        """Return conversations, last written first, at most ``limit`` (-1: all).

        ``before``: only those to which nothing was added since then (Unix time).
        """
        until = float("inf") if before is None else before
        rest = "WHERE updated_at < ? ORDER BY revision DESC LIMIT ?"
        return self._read(lambda db: read_summaries(db, rest, until, limit)) or []

    def find(self, prefix: str) -> Summary:
        """Return the one conversation whose id begins with ``prefix``.

        Raises:
            NotFoundError: there is none, or there are several.
        """
        wanted = prefix.strip().lower()
        everything = self.summaries()
        found = [known for known in everything if wanted and known.id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFoundError(
                f"{len(found)} conversations begin with '{prefix}'",
                remedy="type more of one: " + ", ".join(known.id for known in found[:5]),
            )
        near = get_close_matches(wanted, [known.id for known in everything], n=3, cutoff=0.6)
        raise NotFoundError(
            f"there is no conversation '{prefix}'",
            remedy=f"perhaps {' or '.join(near)}" if near else "mlm sessions list",
        )

    def read(self, known: Summary) -> Session:
        """Return a whole conversation as it is now.

        Raises:
            NotFoundError: it was removed meanwhile.
        """

        def work(db: sqlite3.Connection) -> Session | None:
            for found in read_summaries(db, "WHERE id = ?", known.id):
                return Session(found, read_messages(db, found.id))
            return None

        if (session := self._read(work)) is None:
            raise NotFoundError(
                f"the conversation {known.id} was removed", remedy="mlm sessions list"
            )
        return session

    def search(self, query: Query, *, limit: int = -1) -> list[Hit]:
        """Return the messages that ``query`` finds, last written first.

        Raises:
            UsageError: it looks for nothing.
        """
        from mlm.sessions.search import search_messages  # a chat can wait for it

        return self._read(lambda db: search_messages(db, query, limit)) or []

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with explaining(self._path):
            return self._transact("BEGIN IMMEDIATE", work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what ``work`` finds; None where there is no file yet, which reading makes not."""
        with explaining(self._path):
            if self._db is None and not self._path.exists():
                return None
            return self._transact("BEGIN", work)

    def _transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` as one: all of it or nothing. A damaged index of words is made anew."""
        try:
            return self._attempt(begin, work)
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            if error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT_VTAB:
                self.close()  # opening it again puts it aside
                raise
        self._attempt(
            "BEGIN IMMEDIATE",
            lambda db: db.execute("INSERT INTO words (words) VALUES ('rebuild')"),
        )
        return self._attempt(begin, work)

    def _attempt(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._db is None:
            self._db, aside = open_sessions(self._path, self._wait_s)
            if aside is not None:
                self._on_put_aside(aside)
        self._db.execute(begin)
        try:
            result = work(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have done so already
                self._db.execute("ROLLBACK")
            raise
        return result
