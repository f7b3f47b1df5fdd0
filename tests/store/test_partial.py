"""Files on their way in."""

import json
from pathlib import Path

import pytest
from fakes.hub import File
from fakes.hub.tiny import NAME, TINY, model_bytes

from mlm.store.partial import SYNC_BYTES, Partial
from mlm.store.types import RemoteFile

COMMIT = "1" * 40
BIG = model_bytes(SYNC_BYTES + 500_000)


def remote(content: bytes = TINY, *, sha256: str | None = "") -> RemoteFile:
    file = File(NAME, content)
    known = file.sha256 if sha256 == "" else sha256
    return RemoteFile(NAME, len(content), known, file.git_oid)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.mlm-partial"


def test_what_was_written_is_taken_up_again(path: Path):
    first = Partial(path, remote(), COMMIT)
    first.append(TINY[:1000])
    first.note_etag('"e"')
    first.close()
    heard: list[int] = []
    second = Partial(path, remote(), COMMIT, heard.append)
    assert (second.size, second.etag, heard) == (1000, '"e"', [1000])
    second.append(TINY[1000:])
    assert second.finish().sha256 == remote().sha256


def test_what_no_sync_has_confirmed_is_cut_off(path: Path):
    lost = Partial(path, remote(BIG), COMMIT)
    lost.append(BIG[:SYNC_BYTES])  # confirmed
    lost.append(BIG[SYNC_BYTES:-5])  # not yet
    lost._close()  # as a killed process leaves it
    assert path.stat().st_size == len(BIG) - 5
    found = Partial(path, remote(BIG), COMMIT)
    assert found.size == SYNC_BYTES
    found.close()


@pytest.mark.parametrize(
    "sidecar", ["", "{", "[]", "null", '{"synced": 5}', '{"synced": "x", "size": 1}', None]
)
def test_bytes_that_nothing_explains_are_thrown_away(path: Path, sidecar: str | None):
    path.write_bytes(TINY[:1000])
    if sidecar is not None:
        path.with_name(path.name + ".json").write_text(sidecar)
    fresh = Partial(path, remote(), COMMIT)
    assert (fresh.size, path.stat().st_size) == (0, 0)
    fresh.close()


def test_bytes_of_another_file_are_thrown_away(path: Path):
    other = Partial(path, remote(BIG), COMMIT)
    other.append(BIG[:1000])
    other.close()
    fresh = Partial(path, remote(), COMMIT)
    assert fresh.size == 0
    fresh.close()


def test_without_a_checksum_another_commit_is_another_file(path: Path):
    unknown = remote(sha256=None)
    first = Partial(path, unknown, COMMIT)
    first.append(TINY[:1000])
    first.close()
    same = Partial(path, unknown, COMMIT)
    assert same.size == 1000
    same.close()
    other = Partial(path, unknown, "2" * 40)
    assert other.size == 0
    other.close()


def test_a_sidecar_that_promises_too_much_is_not_believed(path: Path):
    first = Partial(path, remote(), COMMIT)
    first.append(TINY[:1000])
    first.close()
    sidecar = path.with_name(path.name + ".json")
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(facts | {"synced": len(TINY)}))
    found = Partial(path, remote(), COMMIT)
    assert found.size == 1000
    found.close()


def test_discarding_leaves_nothing(path: Path):
    partial = Partial(path, remote(), COMMIT)
    partial.append(TINY[:1000])
    partial.sync()
    partial.discard()
    assert list(path.parent.iterdir()) == []


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path):
    target = tmp_path / "precious"
    target.write_text("mine")
    path.symlink_to(target)
    with pytest.raises(OSError):
        Partial(path, remote(), COMMIT)
    assert target.read_text() == "mine"
