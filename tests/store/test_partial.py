"""Files on their way in."""

import json
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from fakes.hub import File
from fakes.hub.tiny import NAME, TINY, model_bytes

from mlm.store import journal
from mlm.store.digest import CHUNK_BYTES
from mlm.store.hasher import PIECE_BYTES
from mlm.store.partial import Partial
from mlm.store.types import RemoteFile

COMMIT = "1" * 40
BIG = model_bytes(2 * CHUNK_BYTES + 500_000)


def remote(content: bytes = TINY, *, sha256: str | None = "") -> RemoteFile:
    file = File(NAME, content)
    known = file.sha256 if sha256 == "" else sha256
    return RemoteFile(NAME, len(content), known, file.git_oid)


def put(partial: Partial, content: bytes, start: int, stop: int) -> None:
    """Write a part of ``content`` to its place, piece by piece."""
    for offset in range(start, stop, PIECE_BYTES):
        piece = partial.get_piece()
        piece.fill(offset, memoryview(content[offset : min(offset + PIECE_BYTES, stop)]))
        partial.write(piece)


def wait_hashed(partial: Partial) -> None:
    """Wait until everything that is there in a row has been hashed."""
    assert partial._hasher.wait(partial.ranges.end_from(0), 10)


@contextmanager
def killed(path: Path, file: RemoteFile) -> Iterator[Partial]:
    """A partial that is left as a killed process leaves it."""
    partial = Partial(path, file, COMMIT)
    yield partial
    wait_hashed(partial)
    partial._close()


def found(path: Path, file: RemoteFile, commit: str = COMMIT) -> "closing[Partial]":
    return closing(Partial(path, file, commit))


def restart_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.mlm-partial"


def test_what_was_written_is_taken_up_again(path: Path):
    with killed(path, remote()) as first:
        put(first, TINY, 0, 1000)
        first.note_etag('"e"')
    with found(path, remote()) as second:
        assert (second.size, second.etag) == (1000, '"e"')
        put(second, TINY, 1000, len(TINY))
        assert second.wait_hashed(10)
        assert second.finish().sha256 == remote().sha256


def test_pieces_may_come_in_any_order(path: Path):
    starts = list(range(0, len(BIG), PIECE_BYTES))
    random.Random(3).shuffle(starts)
    with found(path, remote(BIG)) as partial:
        for start in starts:
            put(partial, BIG, start, min(start + PIECE_BYTES, len(BIG)))
        assert partial.missing == 0
        assert partial.wait_hashed(10)
        assert partial.finish().sha256 == remote(BIG).sha256
    assert path.read_bytes() == BIG


def test_holes_are_remembered(path: Path):
    with killed(path, remote(BIG)) as first:
        put(first, BIG, 0, 1000)
        put(first, BIG, 5_000_000, 6_000_000)
    with found(path, remote(BIG)) as second:
        assert second.gaps() == [(1000, 5_000_000), (6_000_000, len(BIG))]


def test_after_a_power_cut_only_what_was_synced_counts(path: Path, monkeypatch: pytest.MonkeyPatch):
    with killed(path, remote(BIG)) as cut_off:
        put(cut_off, BIG, 0, CHUNK_BYTES)
        wait_hashed(cut_off)
        cut_off.sync(at_least=1)
        put(cut_off, BIG, CHUNK_BYTES, len(BIG))
    restart_machine(monkeypatch)
    with found(path, remote(BIG)) as left:
        assert left.gaps() == [(CHUNK_BYTES, len(BIG))]


def test_a_power_cut_before_the_first_sync_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    with killed(path, remote()) as cut_off:
        put(cut_off, TINY, 0, 1000)
    restart_machine(monkeypatch)
    with found(path, remote()) as left:
        assert left.size == 0


def test_what_has_rotted_meanwhile_is_found_and_forgotten(path: Path):
    with killed(path, remote(BIG)) as first:
        put(first, BIG, 0, len(BIG) - 5)
    rotten = bytearray(path.read_bytes())
    rotten[CHUNK_BYTES + 7] ^= 1
    path.write_bytes(rotten)
    with found(path, remote(BIG)) as second:
        second.wait_hashed(10)
        assert second.is_rotten
        second.drop_rotten()
        assert second.gaps() == [(CHUNK_BYTES, len(BIG))]
        put(second, BIG, CHUNK_BYTES, len(BIG))
        assert second.wait_hashed(10)
        assert not second.is_rotten
        assert second.finish().sha256 == remote(BIG).sha256


@pytest.mark.parametrize(
    "torn",
    [b"w 5", b"w 5 ", b"w 9 3\n", b"\xff\n", b"p xyz\n", b"what?\n", b"e 5\n", b'e "a\\r\\nb"\n'],
)
def test_notes_that_break_off_count_as_far_as_they_go(path: Path, torn: bytes):
    with killed(path, remote()) as first:
        put(first, TINY, 0, 1000)
    notes = path.with_name(f"{path.name}.journal")
    notes.write_bytes(notes.read_bytes() + torn)
    with found(path, remote()) as second:
        assert (second.size, second.etag) == (1000, None)
        put(second, TINY, 1000, 2000)
    with found(path, remote()) as third:
        assert third.size == 2000, "what is noted after the torn line counts"


FACTS = {"commit": COMMIT, "filename": NAME, "sha256": None, "git_oid": None, "boot": "x"}
NOTES = ["", "{", "[]", "[" * 100_000, "null", '{"boot": 5}', "w 0 1000", None]
NOTES += [json.dumps(FACTS), *(f"{json.dumps(FACTS | {'size': s})}\nw 0 5\ns 200" for s in "9x")]


@pytest.mark.parametrize("notes", NOTES)
def test_bytes_that_nothing_explains_are_thrown_away(path: Path, notes: str | None):
    path.write_bytes(TINY[:1000])
    if notes is not None:
        path.with_name(f"{path.name}.journal").write_text(notes)
    with found(path, remote()) as fresh:
        assert (fresh.size, path.stat().st_size) == (0, 0)


def test_notes_of_more_than_there_is_are_not_believed(path: Path):
    with killed(path, remote()) as first:
        put(first, TINY, 0, 2000)
    with path.open("r+b") as file:
        file.truncate(1500)
    with found(path, remote()) as second:
        assert second.gaps() == [(1500, len(TINY))]


def test_bytes_of_another_file_are_thrown_away(path: Path):
    with killed(path, remote(BIG)) as other:
        put(other, BIG, 0, 1000)
    with found(path, remote()) as fresh:
        assert fresh.size == 0


def test_without_a_checksum_another_commit_is_another_file(path: Path):
    unknown = remote(sha256=None)
    with killed(path, unknown) as first:
        put(first, TINY, 0, 1000)
    with found(path, unknown) as same:
        assert same.size == 1000
    with found(path, unknown, "2" * 40) as other:
        assert other.size == 0


def test_discarding_leaves_nothing(path: Path):
    partial = Partial(path, remote(), COMMIT)
    put(partial, TINY, 0, 1000)
    partial.sync(at_least=1)
    partial.discard()
    assert list(path.parent.iterdir()) == []


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path):
    target = tmp_path / "precious"
    target.write_text("mine")
    path.symlink_to(target)
    with pytest.raises(OSError):
        Partial(path, remote(), COMMIT)
    assert target.read_text() == "mine"


def test_a_file_with_another_name_is_not_written_to(path: Path, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    path.hardlink_to(precious)
    with found(path, remote()) as partial:
        put(partial, TINY, 0, 1000)
    assert precious.read_text() == "mine"
