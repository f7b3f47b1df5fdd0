"""The ledger in ``MLM_HOME/ledger.sqlite``: what was predicted, and what came of it.

It holds figures and model ids; no prompts, no answers, no paths.
"""

import sqlite3
import time
from contextlib import closing
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path
from typing import Any, get_args

from mlm.stats.database import Schema, Writer
from mlm.stats.types import DeviceKind, Observation, Quantity, Source

KEEP_S = 365 * 24 * 3600.0  # an engine is hardly older
# A correction is a median: more of one figure adds nothing; one busy model must not push out all
# others, nor answers a bench. By the order of writing, for a clock may go backwards.
KEEP_OF_EACH, KEEP_ROWS = 200, 20_000

SCHEMA = Schema(
    version=2,
    script="""
    CREATE TABLE IF NOT EXISTS observations (
        at REAL NOT NULL, machine TEXT NOT NULL, engine TEXT NOT NULL, model TEXT NOT NULL,
        architecture TEXT NOT NULL, quant TEXT, device TEXT NOT NULL, quantity TEXT NOT NULL,
        predicted REAL NOT NULL, actual REAL NOT NULL, n_past INTEGER, attention_share REAL,
        n_threads INTEGER, source TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS observations_by_machine ON observations (machine);
    """,
)
_COLUMNS = tuple(field.name for field in fields(Observation))
_WORDS = {"device": DeviceKind, "quantity": Quantity, "source": Source}
_KINDS = {
    **dict.fromkeys(("at", "predicted", "actual"), int | float),
    **dict.fromkeys(("engine", "model", "architecture"), str),
    **dict.fromkeys(("n_past", "n_threads"), int | None),
    "attention_share": int | float | None,
    "quant": str | None,
}
_BUSY_S = 0.5  # a plan rather does without than wait for a writer


class Ledger:
    """Takes observations in without ever waiting or failing."""

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, SCHEMA)
        self._writer.submit(lambda connection: forget_old(connection, time.time()))

    @property
    def dropped(self) -> int:
        """Pieces of work that did not reach the disk."""
        return self._writer.dropped

    def note(self, observation: Observation) -> None:
        """Remember one observation, unless its figures mean nothing."""
        if observation.means_something:
            self._writer.submit(partial(_insert, observation=observation))

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()


def read_ledger(path: Path, machine: str) -> list[Observation]:
    """Return what was observed on the machine with this fingerprint, in the order of writing.

    A ledger that is missing, damaged or locked for long is empty: nothing depends on it.
    """
    if not path.exists():
        return []
    try:
        with closing(_open_for_reading(path)) as connection:
            rows = connection.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM observations WHERE machine = ? "
                "ORDER BY rowid DESC LIMIT ?",
                (machine, KEEP_ROWS),
            ).fetchall()
    except (OSError, sqlite3.Error):
        return []
    found = [_read(row) for row in reversed(rows)]
    return [observation for observation in found if observation is not None]


def forget_old(connection: sqlite3.Connection, now: float) -> None:
    """Delete what is too old, and what is too much: the oldest of each figure, then of all."""
    connection.execute("DELETE FROM observations WHERE at < ?", (now - KEEP_S,))
    connection.execute(
        "DELETE FROM observations WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number() "
        "OVER (PARTITION BY machine, model, device, quantity, source ORDER BY rowid DESC) AS place "
        "FROM observations) WHERE place > ?)",
        (KEEP_OF_EACH,),
    )
    connection.execute(
        "DELETE FROM observations WHERE rowid NOT IN "
        "(SELECT rowid FROM observations ORDER BY rowid DESC LIMIT ?)",
        (KEEP_ROWS,),
    )


def _insert(connection: sqlite3.Connection, observation: Observation) -> None:
    marks = ", ".join("?" * len(_COLUMNS))
    connection.execute(
        f"INSERT INTO observations ({', '.join(_COLUMNS)}) VALUES ({marks})", astuple(observation)
    )


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Open without writing anything, so that it works in a home that is read-only."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    if not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"  # nobody writes; else SQLite wants to make files beside it
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S)


def _read(row: tuple[Any, ...]) -> Observation | None:
    """Return the observation in a row, None if somebody else must have written it."""
    values = dict(zip(_COLUMNS, row, strict=True))
    known = all(values[name] in get_args(words) for name, words in _WORDS.items())
    if not known or not all(isinstance(values[name], kind) for name, kind in _KINDS.items()):
        return None
    observation = Observation(**values)
    return observation if observation.means_something else None
