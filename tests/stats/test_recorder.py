"""The history survives damage, and never stands in the way."""

import random
import sqlite3
import threading
from pathlib import Path

import pytest
from fakes.request_stats import request

from mlm.stats.database import Writer, open_database
from mlm.stats.history import KEEP_S, SCHEMA, read_history
from mlm.stats.recorder import Recorder
from mlm.stats.types import LoadStats

NOW = 4e9  # far in the future, so that nothing is too old to keep


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new-folder" / "stats.sqlite"


def record(path: Path, *events: object) -> Recorder:
    recorder = Recorder(path)
    for event in events:
        recorder.note(event)  # type: ignore[arg-type]
    recorder.close()
    return recorder


def test_what_is_noted_can_be_read_again(path: Path):
    load = LoadStats(NOW, "tiny", True, 1.25, 1000, None)
    events = [
        request(finished_at=NOW, itl_s=(0.5, 0.25)),
        request(finished_at=NOW + 1, queue_s=None, itl_s=()),
    ]
    recorder = record(path, *events, load)
    assert read_history(path) == (events, [load])
    assert list(recorder.requests) == events
    assert list(recorder.loads) == [load]


def test_only_what_is_younger_than_asked_is_read(path: Path):
    record(path, request(finished_at=NOW), request(finished_at=NOW + 10))
    requests, _ = read_history(path, since=NOW + 5)
    assert [event.finished_at for event in requests] == [NOW + 10]


def test_a_missing_history_is_empty_and_is_not_created_by_reading(path: Path):
    assert read_history(path) == ([], [])
    assert not path.exists()


def test_what_is_too_old_is_forgotten_at_the_next_start(path: Path):
    record(path, request(finished_at=1.0 + KEEP_S / 1e9), request(finished_at=NOW))
    record(path)
    requests, _ = read_history(path)
    assert [event.finished_at for event in requests] == [NOW]


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
    requests, _ = read_history(path)
    assert [event.finished_at for event in requests] == [NOW + 1]
    assert path.with_name("stats.sqlite.broken").exists() == bool(garbage)


def test_damage_in_the_middle_of_the_file_is_found(path: Path):
    record(path, *(request(finished_at=NOW + i, itl_s=(0.1,) * 500) for i in range(200)))
    content = bytearray(path.read_bytes())
    rng = random.Random(7)
    for _ in range(40):
        page = rng.randrange(1, len(content) // 4096) * 4096
        content[page : page + 64] = rng.randbytes(64)
    path.write_bytes(content)
    record(path, request(finished_at=NOW))
    requests, _ = read_history(path)
    assert [event.finished_at for event in requests] == [NOW]


def test_damage_while_it_is_open_is_healed(path: Path):
    recorder = Recorder(path)
    for i in range(50):
        recorder.note(request(finished_at=NOW + i, itl_s=(0.1,) * 2000))
    assert recorder._writer.flush()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    path.write_bytes(b"junk" * 5000)
    for i in range(100):
        recorder.note(request(finished_at=NOW + 100 + i))
        recorder._writer.flush()
    recorder.close()
    requests, _ = read_history(path)
    assert requests
    assert requests[-1].finished_at == NOW + 199


def test_a_file_of_another_version_is_put_aside(path: Path):
    connection = open_database(path, SCHEMA)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    record(path, request(finished_at=NOW))
    assert len(read_history(path)[0]) == 1


def test_where_nothing_can_be_written_events_are_dropped_and_counted(tmp_path: Path):
    blocked = tmp_path / "a-file"
    blocked.write_text("not a folder")
    recorder = record(blocked / "stats.sqlite", request(), request())
    assert recorder.dropped >= 2
    assert len(recorder.requests) == 2


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
    assert len(read_history(path)[0]) == 200
