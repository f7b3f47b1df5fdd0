"""The ledger survives what may happen to a file, and never grows without end."""

import math
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest
from fakes.observations import observation

from mlm.stats import ledger
from mlm.stats.database import open_database
from mlm.stats.ledger import SCHEMA, Ledger, forget_old, read_ledger
from mlm.stats.types import Observation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new-folder" / "ledger.sqlite"


def write(path: Path, *observations: Observation) -> Ledger:
    written = Ledger(path)
    for one in observations:
        written.note(one)
    written.close()
    return written


def now(**changes: object) -> Observation:
    return observation(at=time.time(), **changes)


def test_what_is_noted_is_read_back_in_the_order_of_writing(path: Path):
    noted = [
        now(),
        now(quantity="weights", predicted=2.5e9, actual=2.6e9, n_past=None,
            attention_share=None, source="load"),
        now(device="mixed", quant=None, n_threads=None, attention_share=0.25, source="bench"),
    ]  # fmt: skip
    write(path, *noted)
    assert read_ledger(path, "here") == noted


def test_other_machines_have_their_own_ledger(path: Path):
    write(path, now(), now(machine="there", actual=900.0))
    assert [one.actual for one in read_ledger(path, "here")] == [20.0]
    assert read_ledger(path, "nowhere") == []


@pytest.mark.parametrize("figure", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("which", ["predicted", "actual"])
def test_figures_without_a_ratio_are_not_kept(path: Path, which: str, figure: float):
    write(path, now(**{which: figure}), now())
    assert len(read_ledger(path, "here")) == 1


def test_a_missing_ledger_is_empty_and_reading_makes_none(path: Path):
    assert read_ledger(path, "here") == []
    assert not path.parent.exists()


@pytest.mark.parametrize("junk", [b"", b"not a database" * 500, b"SQLite format 3\0" * 99])
def test_a_damaged_ledger_is_empty_and_begins_anew(path: Path, junk: bytes):
    write(path, now())
    path.write_bytes(junk)
    assert read_ledger(path, "here") == []
    write(path, now(actual=7.0))
    assert [one.actual for one in read_ledger(path, "here")] == [7.0]


def test_rows_that_somebody_else_wrote_are_passed_over(path: Path):
    write(path, now())
    with closing(sqlite3.connect(path)) as database, database:
        for change in (
            "quantity = 'mood'",
            "device = 'abacus'",
            "predicted = 'much'",
            "actual = -1",
            "predicted = 9e999",
            "n_past = 'many'",
            "attention_share = 'half'",
            "attention_share = 1.5",
            "model = x'00ff'",
        ):
            database.execute(
                "INSERT INTO observations SELECT * FROM observations ORDER BY rowid LIMIT 1"
            )
            database.execute(f"UPDATE observations SET {change} WHERE rowid = last_insert_rowid()")
    assert len(read_ledger(path, "here")) == 1


def test_a_home_that_cannot_be_written_is_read_all_the_same(path: Path):
    write(path, now())
    path.chmod(stat.S_IRUSR)
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert len(read_ledger(path, "here")) == 1
    finally:
        path.parent.chmod(stat.S_IRWXU)


def test_where_nothing_can_be_written_observations_are_dropped_and_counted(tmp_path: Path):
    (tmp_path / "a-file").write_text("not a folder")
    written = write(tmp_path / "a-file" / "ledger.sqlite", now(), now())
    assert written.dropped >= 2


def test_a_ledger_that_is_being_written_can_be_read(path: Path):
    first = Ledger(path)
    first.note(now())
    assert first._writer.flush()
    assert len(read_ledger(path, "here")) == 1
    first.close()


def test_two_servers_share_one_ledger(path: Path):
    ledgers = [Ledger(path), Ledger(path)]
    for _ in range(60):
        for one in ledgers:
            one.note(now())
    for one in ledgers:
        one.close()
    assert sum(one.dropped for one in ledgers) == 0
    assert len(read_ledger(path, "here")) == 120


def test_one_busy_model_does_not_push_out_the_others(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "KEEP_OF_EACH", 3)
    write(path, now(model="rare"), *(now(actual=float(n)) for n in range(1, 11)))
    write(path)
    kept = [(one.model, one.actual) for one in read_ledger(path, "here")]
    assert kept == [("rare", 20.0), *(("tiny:Q4_K_M", float(n)) for n in (8, 9, 10))]


def test_answers_do_not_push_out_a_bench(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "KEEP_OF_EACH", 3)
    write(path, now(source="bench", actual=99.0), *(now() for _ in range(9)))
    write(path)
    assert [one.actual for one in read_ledger(path, "here")] == [99.0, 20.0, 20.0, 20.0]


def test_the_newest_are_kept_when_there_are_too_many(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "KEEP_ROWS", 4)
    write(path, *(now(model=f"model-{n}") for n in range(9)))
    assert len(read_ledger(path, "here")) == 4, "no reader has to take more"
    write(path)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT model FROM observations ORDER BY rowid").fetchall()
    assert [model for (model,) in rows] == ["model-5", "model-6", "model-7", "model-8"]


def test_what_is_too_old_is_forgotten(path: Path):
    write(path, observation(at=time.time() - 2 * ledger.KEEP_S, actual=1.0), now(actual=2.0))
    write(path)
    assert [one.actual for one in read_ledger(path, "here")] == [2.0]


def test_a_clock_that_goes_back_forgets_nothing_and_keeps_the_order(path: Path):
    write(path, now(actual=1.0))
    write(path, observation(at=5.0, actual=2.0))
    with closing(open_database(path, SCHEMA)) as database:
        forget_old(database, now=10.0)
    assert [one.actual for one in read_ledger(path, "here")] == [1.0, 2.0]


def test_only_the_owner_can_read_it(path: Path):
    write(path, now())
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
