"""Files of which only the header is there."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import gguf_files as g

from mlm.gguf import hole
from mlm.gguf.header import read_header
from mlm.gguf.hole import HoleError, RawHeader, Recorder, standing_in
from mlm.gguf.source import FileSource

GIB = 1024**3


def test_a_header_and_a_hole_stand_in_for_a_file_of_any_size():
    raw = RawHeader("m.gguf", b"GGUF and so on", 40 * GIB)
    with standing_in([raw]) as path:
        assert path.stat().st_size == 40 * GIB
        assert path.stat().st_blocks * 512 < 100_000
        with path.open("rb") as file:
            assert file.read(18) == raw.head + bytes(4)
    assert not path.parent.exists()


def test_parts_of_a_split_model_stand_side_by_side_by_name():
    parts = [RawHeader(f"sub/m-0000{n}-of-00002.gguf", b"GGUF", 100) for n in (1, 2)]
    with standing_in(parts) as path:
        assert path.name == "m-00001-of-00002.gguf"
        assert path.with_name("m-00002-of-00002.gguf").stat().st_size == 100


def test_nothing_stays_when_the_work_in_it_fails():
    with pytest.raises(KeyboardInterrupt), standing_in([RawHeader("m", b"", 10)]) as path:
        raise KeyboardInterrupt
    assert not path.parent.exists()


def test_an_error_of_the_work_is_not_taken_for_one_of_the_file():
    with pytest.raises(PermissionError), standing_in([RawHeader("m", b"", 10)]):
        raise PermissionError


def test_where_there_is_no_room_it_says_so(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hole, "_write_all", full)
    with pytest.raises(HoleError, match="No space left"), standing_in([RawHeader("m", b"", 10)]):
        pass


@pytest.mark.parametrize("blocks", [10**9, None])
def test_where_holes_would_take_space_none_is_made(
    blocks: int | None, monkeypatch: pytest.MonkeyPatch
):
    class Status:
        st_blocks = blocks

    monkeypatch.setattr(Path, "stat", lambda self: Status())
    with pytest.raises(HoleError, match="no holes"), standing_in([RawHeader("m", b"", GIB)]):
        pass


@pytest.fixture
def source(tmp_path: Path) -> Callable[[], FileSource]:
    made = g.llama(n_vocab=300_000)  # its scores are longer than what is read at a time
    path = made.write(tmp_path / "m.gguf")
    return lambda: FileSource(path)


def test_what_a_parser_skipped_is_read_when_the_whole_header_is_wanted(
    source: Callable[[], FileSource],
):
    with source() as file:
        recorder = Recorder(file)
        header = read_header(recorder)
        before = recorder.n_bytes
        head = recorder.head(header.header_bytes)
        assert head == file.read(0, header.header_bytes)
        assert recorder.n_bytes >= before
        raw = RawHeader("m.gguf", head, file.size)
        assert read_header(raw) == header


def test_gaps_and_overlaps_are_put_right():
    data = bytes(range(200)) * 10
    whole = Recorder(RawHeader("m", data, len(data)))
    for offset, length in ((0, 10), (50, 10), (55, 20), (52, 3), (300, 5)):
        whole.read(offset, length)
    before = whole.n_bytes
    assert whole.head(100) == data[:100]
    assert whole.n_bytes - before == 40 + 25
