"""The history survives damage, and never stands in the way."""

import os
import random
import sqlite3
import stat
import sys
import threading
import time
import tracemalloc
from array import array
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.request_stats import request

from mlm.errors import ConflictError
from mlm.stats import history
from mlm.stats.database import Writer, open_database
from mlm.stats.history import KEEP_S, SCHEMA, forget_old, read_loads, read_requests
from mlm.stats.recorder import MAX_MODELS, OTHERS, RECENT_REQUESTS, Recorder
from mlm.stats.types import LoadStats, RequestStats

NOW = 4e9  # far in the future, so that nothing is too old to keep


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new-folder" / "stats.sqlite"


def record(path: Path, *events: RequestStats | LoadStats) -> Recorder:
    recorder = Recorder(path)
    for event in events:
        recorder.note(event)
    recorder.close()
    return recorder


def read(path: Path, **options: float) -> list[RequestStats]:
    return [event for event, _ in read_requests(path, **options)]


def test_what_is_noted_can_be_read_again(path: Path):
    load = LoadStats(NOW, "tiny", True, 1.25, 1000, None)
    events = [
        request(finished_at=NOW, itl_s=(0.5, 0.25)),
        request(finished_at=NOW + 1, queue_s=None, itl_s=(), tenant="ab12", status=503, ok=False),
    ]
    recorder = record(path, *events, load)
    found = list(read_requests(path))
    assert [event for event, _ in found] == [replace(event, itl_s=()) for event in events]
    assert [gaps.count for _, gaps in found] == [2, 0]
    assert found[0][1].total_s == 0.75
    assert list(read_loads(path)) == [load]
    assert [event.finished_at for event in recorder.recent] == [NOW + 1, NOW]
    assert recorder.models["tiny"].requests == 2
    assert recorder.models["tiny"].load.all.count == 1


def test_ids_that_clients_chose_are_not_kept_on_disk(path: Path):
    recorder = record(path, request(finished_at=NOW, request_id="canary-1"))
    assert recorder.recent[0].request_id == "canary-1"
    assert b"canary" not in path.read_bytes()


def test_a_request_that_came_to_no_model_is_only_shown(path: Path):
    recorder = record(path, request(model="", ok=False, error="model_not_found", status=404))
    assert [event.status for event in recorder.recent] == [404]
    assert recorder.models == {}
    assert read(path) == []


def test_only_what_is_younger_than_asked_is_read(path: Path):
    record(path, request(finished_at=NOW), request(finished_at=NOW + 10))
    assert [event.finished_at for event in read(path, since=NOW + 5)] == [NOW + 10]


def test_a_missing_history_is_empty_and_is_not_created_by_reading(path: Path):
    assert read(path) == []
    assert not path.exists()


def test_what_is_too_old_is_forgotten_at_the_next_start(path: Path):
    record(path, request(finished_at=1.0 + KEEP_S / 1e9), request(finished_at=NOW))
    record(path)
    assert [event.finished_at for event in read(path)] == [NOW]


def test_of_too_many_the_last_written_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "KEEP_ROWS", 3)
    record(path, *(request(finished_at=NOW - i) for i in range(10)))  # the clock goes back
    record(path)
    assert sorted(event.finished_at for event in read(path)) == [NOW - 9, NOW - 8, NOW - 7]


def test_a_server_that_runs_for_long_forgets_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "KEEP_ROWS", 5)
    monkeypatch.setattr("mlm.stats.recorder._EVENTS_BETWEEN_PRUNES", 20)
    record(path, *(request(finished_at=NOW + i) for i in range(60)))
    assert len(read(path)) == 5


def test_a_clock_that_goes_back_forgets_nothing(path: Path):
    record(path, request(finished_at=NOW))
    with closing(open_database(path, SCHEMA)) as database:
        forget_old(database, now=10.0)
    assert len(read(path)) == 1


def test_however_many_requests_there_are_they_take_little_memory(path: Path):
    recorder = Recorder(path)
    gaps = tuple(0.01 + i * 1e-5 for i in range(500))

    def fill(n: int) -> int:
        for i in range(n):
            recorder.note(request(finished_at=NOW + i, itl_s=gaps))
            if i % 50 == 0:
                recorder._writer.flush()
        recorder._writer.flush()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = fill(100)
        assert fill(100) - before < 50_000
    finally:
        tracemalloc.stop()
        recorder.close()
    assert len(recorder.recent) == RECENT_REQUESTS
    assert recorder.models["tiny"].itl.all.count == 200 * 500


def test_names_of_models_do_not_pile_up(path: Path):
    names = [f"model-{i}" for i in range(MAX_MODELS + 20)]
    recorder = record(path, *(request(finished_at=NOW, model=name) for name in names))
    assert len(recorder.models) == MAX_MODELS + 1
    assert recorder.models[OTHERS].requests == 20


def test_an_answer_takes_a_few_hundred_bytes_on_disk(path: Path):
    gaps = tuple(random.Random(3).lognormvariate(-3, 0.3) for _ in range(4000))
    record(path, *(request(finished_at=NOW + i, itl_s=gaps) for i in range(200)))
    assert path.stat().st_size < 200 * 1000


def test_only_the_owner_can_read_the_file(path: Path):
    record(path, request())
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "garbage", [b"", b"not a database at all" * 400, b"SQLite format 3\0" * 99]
)
def test_a_damaged_file_is_put_aside(path: Path, garbage: bytes):
    record(path, request(finished_at=NOW))
    path.write_bytes(garbage)
    record(path, request(finished_at=NOW + 1))
    assert [event.finished_at for event in read(path)] == [NOW + 1]
    assert path.with_name("stats.sqlite.broken").exists() == bool(garbage)


def test_damage_in_the_middle_of_the_file_is_found(path: Path):
    gaps = tuple(0.001 * 1.03**i for i in range(300))
    record(path, *(request(finished_at=NOW + i, itl_s=gaps) for i in range(200)))
    content = bytearray(path.read_bytes())
    rng = random.Random(7)
    for _ in range(40):
        page = rng.randrange(1, len(content) // 4096) * 4096
        content[page : page + 64] = rng.randbytes(64)
    path.write_bytes(content)
    record(path, request(finished_at=NOW))
    assert [event.finished_at for event in read(path)] == [NOW]


def test_a_log_that_was_taken_away_costs_at_most_what_was_in_it(path: Path):
    recorder = Recorder(path)
    for i in range(20):
        recorder.note(request(finished_at=NOW + i))
    assert recorder._writer.flush()
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)
    recorder.note(request(finished_at=NOW + 100))
    recorder.close()
    record(path, request(finished_at=NOW + 200))
    assert read(path)[-1].finished_at == NOW + 200


def test_damage_while_it_is_open_is_healed(path: Path):
    recorder = Recorder(path)
    gaps = tuple(0.001 * 1.03**i for i in range(300))
    for i in range(200):
        recorder.note(request(finished_at=NOW + i, itl_s=gaps))
    assert recorder._writer.flush()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    path.write_bytes(b"junk" * 5000)
    for i in range(100):
        recorder.note(request(finished_at=NOW + 1000 + i))
        recorder._writer.flush()
    recorder.close()
    assert read(path)[-1].finished_at == NOW + 1099


def test_a_file_of_another_version_is_put_aside(path: Path):
    connection = open_database(path, SCHEMA)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    record(path, request(finished_at=NOW))
    assert len(read(path)) == 1


def write_version_1(path: Path, gaps: list[float]) -> None:
    """Write the history as the first version had it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            """
            CREATE TABLE requests (finished_at REAL NOT NULL, model TEXT NOT NULL,
                endpoint TEXT NOT NULL, ok INTEGER NOT NULL, error TEXT, cache TEXT NOT NULL,
                prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
                completion_tokens INTEGER NOT NULL, queue_s REAL, ttft_s REAL,
                itl_s BLOB NOT NULL, e2e_s REAL NOT NULL);
            PRAGMA user_version = 1;
            """
        )
        row = (
            NOW,
            "tiny",
            "chat",
            1,
            None,
            "miss",
            9,
            0,
            4,
            0.0,
            0.1,
            array("f", gaps).tobytes(),
            0.5,
        )
        database.execute(f"INSERT INTO requests VALUES ({', '.join('?' * len(row))})", row)
        database.commit()


def test_the_history_of_the_first_version_is_taken_over(path: Path):
    write_version_1(path, [0.5, 0.25, 0.25])
    record(path, request(finished_at=NOW + 1))
    (old, gaps), (new, _) = read_requests(path)
    assert (old.finished_at, old.status, old.tenant) == (NOW, 200, "")
    assert (gaps.count, gaps.total_s, gaps.most_s) == (3, 1.0, 0.5)
    assert new.finished_at == NOW + 1
    assert not path.with_name("stats.sqlite.broken").exists()


def test_what_only_says_that_it_is_the_first_version_is_put_aside(path: Path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 1")
    record(path, request(finished_at=NOW))
    assert len(read(path)) == 1
    assert path.with_name("stats.sqlite.broken").exists()


def test_rows_that_somebody_else_wrote_are_passed_over(path: Path):
    record(path, request(finished_at=NOW), LoadStats(NOW, "tiny", True, 1.0, 1, None))
    with closing(sqlite3.connect(path)) as database, database:
        for change in (
            "prompt_tokens = 'many'",
            "itl_s = x'0102'",
            "itl_s = 'text'",
            "e2e_s = 'long'",
            "model = x'00ff'",
            "ttft_s = 'soon'",
            "status = 'good'",
        ):
            database.execute("INSERT INTO requests SELECT * FROM requests WHERE rowid = 1")
            database.execute(f"UPDATE requests SET {change} WHERE rowid = last_insert_rowid()")
        database.execute("INSERT INTO loads VALUES (4e9, 'tiny', 'yes', 1.0, NULL, NULL)")
    assert len(read(path)) == 1
    assert len(list(read_loads(path))) == 1


def test_where_nothing_can_be_written_events_are_dropped_and_counted(tmp_path: Path):
    blocked = tmp_path / "a-file"
    blocked.write_text("not a folder")
    recorder = record(blocked / "stats.sqlite", request(), request())
    assert recorder.dropped >= 2
    assert recorder.models["tiny"].requests == 2


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_a_conflict_that_says_so(path: Path):
    record(path, request())
    path.chmod(0)
    with pytest.raises(ConflictError, match="cannot be read"):
        read(path)
    recorder = record(path, request())
    assert recorder.dropped > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0


def test_a_file_that_is_a_folder_is_a_conflict_that_says_so(path: Path):
    path.mkdir(parents=True)
    with pytest.raises(ConflictError, match="cannot be read"):
        read(path)


def test_a_full_disk_costs_events_and_heals(path: Path):
    record(path, request(finished_at=NOW))
    recorder = Recorder(path)
    assert recorder._writer.flush()
    recorder._writer.submit(lambda database: database.execute("PRAGMA max_page_count = 1"))
    recorder._writer.flush()
    for i in range(400):
        recorder.note(request(finished_at=NOW + i))
    recorder._writer.flush()
    assert recorder.dropped > 0
    recorder._writer.submit(lambda database: database.execute("PRAGMA max_page_count = 100000"))
    recorder._writer.flush()
    recorder.note(request(finished_at=NOW + 1000))
    recorder.close()
    assert read(path)[-1].finished_at == NOW + 1000


def test_a_lock_that_is_never_let_go_delays_nobody_and_is_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mlm.stats.database.BUSY_TIMEOUT_S", 0.05)
    recorder = Recorder(path)
    recorder.note(request(finished_at=NOW))
    assert recorder._writer.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        started = time.thread_time()
        for i in range(50):
            recorder.note(request(finished_at=NOW + i))
        assert time.thread_time() - started < 1
        assert recorder._writer.flush()
        assert recorder.dropped >= 50
        assert [event.finished_at for event in read(path)] == [NOW], "readers need no lock"
        holder.execute("ROLLBACK")
    recorder.note(request(finished_at=NOW + 100))
    recorder.close()
    assert read(path)[-1].finished_at == NOW + 100


def test_a_full_queue_drops_and_never_waits(path: Path):
    busy = threading.Event()
    writer = Writer(path, SCHEMA, capacity=2)
    writer.submit(lambda _: busy.wait(30) and None)
    results = [writer.submit(lambda _: None) for _ in range(10)]
    busy.set()
    writer.close()
    assert not all(results)
    assert writer.dropped == results.count(False)


def test_two_servers_share_one_history(path: Path):
    recorders = [Recorder(path), Recorder(path)]
    for i in range(100):
        for recorder in recorders:
            recorder.note(request(finished_at=NOW + i))
    for recorder in recorders:
        recorder.close()
    assert sum(recorder.dropped for recorder in recorders) == 0
    assert len(read(path)) == 200
