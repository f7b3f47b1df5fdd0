"""Answers kept for the next time the same thing is asked, in ``MLM_HOME/responses.sqlite``.

Losing it costs time and nothing else, so every failure here reads as "not found".
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mlm.engine.messages import AnswerForm, ChosenToken
from mlm.server.cache_file import SCHEMA, CacheLimits, clear, prune
from mlm.stats.database import KEEP_FEW_PAGES, Writer, is_broken

READ_TIMEOUT_S = 0.5  # a disk slower than this is no faster than most answers
_CLOCK_SLACK_S = 60.0  # an entry from further in the future was written by another clock
_STORES_BETWEEN_PRUNES = 32


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A finished answer, in the pieces in which it came."""

    pieces: tuple[str, ...]
    reason: str
    prompt_tokens: int
    completion_tokens: int
    engine: str
    form: AnswerForm = field(default_factory=AnswerForm)
    tokens: list[ChosenToken] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Template:
    """What the cache must know of a model's chat template, known once the model was loaded."""

    sha256: str
    uses_date: bool


class ResponseCache:
    """The answers of one MLM_HOME, shared by all its servers."""

    def __init__(self, path: Path, limits: CacheLimits | None = None) -> None:
        self._path, self._limits = path, limits or CacheLimits()
        self._writer = Writer(path, SCHEMA)
        self._writer.submit(partial(prune, limits=self._limits))
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read responses")
        self._connection: sqlite3.Connection | None = None
        self._templates: dict[str, Template] = {}
        self._stores = 0

    async def find(self, key: bytes, ttl_s: float) -> StoredAnswer | None:
        """Return the answer stored under ``key``, unless it is older than ``ttl_s``."""
        if ttl_s <= 0:  # nothing is kept, whatever the clock says: it may step back
            return None
        row = await self._read("SELECT created_at, answer FROM answers WHERE key = ?", key)
        now = time.time()
        if row is None or not -_CLOCK_SLACK_S <= now - row[0] <= ttl_s:
            return None
        with suppress(msgspec.MsgspecError):
            found = msgspec.json.decode(row[1], type=StoredAnswer)
            self._writer.submit(
                lambda db: db.execute("UPDATE answers SET used_at = ? WHERE key = ?", (now, key))
            )
            return found
        return None

    def store(
        self,
        key: bytes,
        model_id: str,
        answer: StoredAnswer,
        ttl_s: float,
        *,
        then: Callable[[], object],
    ) -> None:
        """Keep ``answer`` for ``ttl_s`` if possible.

        ``then`` is called afterwards, maybe on another thread.
        """
        text = msgspec.json.encode(answer).decode()
        size, now = len(text.encode()), time.time()

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, model_id, now, now, now + ttl_s, size, text),
            )
            self._stores += 1
            if self._stores % _STORES_BETWEEN_PRUNES == 0:
                prune(connection, self._limits)

        is_kept = ttl_s > 0 and size <= self._limits.max_entry_bytes
        if not is_kept or not self._writer.submit(write, then):
            then()

    async def template(self, model_identity: str) -> Template | None:
        """Return what is known of the template of a model that need not be loaded now."""
        if model_identity not in self._templates:
            row = await self._read(
                "SELECT sha256, uses_date FROM templates WHERE model_identity = ?", model_identity
            )
            if row is None:
                return None
            self._templates[model_identity] = Template(row[0], bool(row[1]))
        return self._templates[model_identity]

    def remember_template(self, model_identity: str, template: Template) -> None:
        """Note the template of a model that has just been loaded."""
        if self._templates.get(model_identity) != template:
            self._templates[model_identity] = template
            row = (model_identity, template.sha256, template.uses_date)
            self._writer.submit(
                lambda db: db.execute("INSERT OR REPLACE INTO templates VALUES (?, ?, ?)", row)
            )

    async def count(self) -> dict[str, int]:
        """Return ``entries`` and ``bytes``."""
        row = await self._read("SELECT count(*), coalesce(sum(size), 0) FROM answers")
        return {"entries": row[0], "bytes": row[1]} if row else {"entries": 0, "bytes": 0}

    async def clear(self) -> int:
        """Forget all answers; return how many there were."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        cleared: list[int] = []
        accepted = self._writer.submit(
            lambda connection: cleared.append(clear(connection)),
            lambda: loop.call_soon_threadsafe(done.set),
        )
        if accepted:
            await done.wait()
        return sum(cleared)

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()
        self._reader.shutdown(wait=True, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()

    async def _read(self, query: str, *parameters: object) -> Any:
        """Return the first row, or None for whatever reason there is none."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError, RuntimeError):  # RuntimeError: closed meanwhile
            async with asyncio.timeout(READ_TIMEOUT_S):
                return await loop.run_in_executor(self._reader, self._query, query, parameters)
        return None

    def _query(self, query: str, parameters: tuple[object, ...]) -> Any:
        try:
            if self._connection is None:
                address = f"{self._path.absolute().as_uri()}?mode=ro"
                self._connection = sqlite3.connect(
                    address, uri=True, timeout=READ_TIMEOUT_S, check_same_thread=False
                )
                self._connection.execute(KEEP_FEW_PAGES)
            return self._connection.execute(query, parameters).fetchone()
        except sqlite3.Error as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if is_broken(error):
                self._writer.submit(_check)
            return None


def _check(connection: sqlite3.Connection) -> None:
    """Fail in the way that has the writer put a damaged file aside."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        damage = sqlite3.DatabaseError(verdict)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage
