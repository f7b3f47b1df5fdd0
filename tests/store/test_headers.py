"""Headers kept for the next question."""

import os
from pathlib import Path

import pytest

from mlm.gguf.hole import RawHeader
from mlm.store import headers
from mlm.store.headers import HeaderCache

HEADER = RawHeader("sub/m.gguf", b"GGUF" * 100, 10**10)
PLACE = ("org/repo", "a" * 40, "sub/m.gguf")


@pytest.fixture
def cache(tmp_path: Path) -> HeaderCache:
    return HeaderCache(tmp_path / "headers")


def only_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "headers").iterdir()
    return path


def test_a_header_is_found_again_by_repository_commit_and_name(cache: HeaderCache):
    assert cache.find(*PLACE) is None
    cache.keep(*PLACE[:2], HEADER)
    assert cache.find(*PLACE) == HEADER
    assert cache.find("org/repo", "b" * 40, "sub/m.gguf") is None
    assert cache.find("org/other", *PLACE[1:]) is None


@pytest.mark.parametrize("keep", [0, 20, 39, 100])
def test_one_that_was_cut_off_or_has_rotted_is_not_found(
    cache: HeaderCache, tmp_path: Path, keep: int
):
    cache.keep(*PLACE[:2], HEADER)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert cache.find(*PLACE) is None
    path.write_bytes(whole[:-1] + b"x")
    assert cache.find(*PLACE) is None


def test_the_longest_unused_make_room(
    cache: HeaderCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(headers, "MAX_BYTES", 1000)
    for number, name in enumerate(("one", "two")):
        cache.keep("r", "c", RawHeader(name, b"x" * 400, 1))
        for path in (tmp_path / "headers").iterdir():
            os.utime(path, (number, number))
    assert cache.find("r", "c", "one")  # used, so "two" is the older one now
    cache.keep("r", "c", RawHeader("three", b"x" * 400, 1))
    assert [name for name in ("one", "two", "three") if cache.find("r", "c", name)] == [
        "one",
        "three",
    ]


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    cache = HeaderCache(tmp_path / "file" / "headers")
    cache.keep(*PLACE[:2], HEADER)
    assert cache.find(*PLACE) is None


def test_no_half_written_file_stays(
    cache: HeaderCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(self: Path, target: Path) -> None:
        raise OSError

    monkeypatch.setattr(Path, "replace", fail)
    cache.keep(*PLACE[:2], HEADER)
    assert list((tmp_path / "headers").iterdir()) == []
