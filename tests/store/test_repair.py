"""A file that has rotted is mended by fetching only what is wrong."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.heard import Heard
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO

from mlm.demo.hub import DEMO_FILE
from mlm.errors import NotFoundError
from mlm.paths import Home
from mlm.store.check import repair, verify
from mlm.store.digest import CHUNK_BYTES
from mlm.store.download import ChecksumError
from mlm.store.hub import Hub
from mlm.store.intake import register_in_place
from mlm.store.store import Store
from mlm.store.types import Downloaded, Verified

SIZE = 5 * CHUNK_BYTES + 1000
CONTENT = b"GGUF" + random.Random(9).randbytes(SIZE - 4)


@pytest.fixture
def blob(hub: FakeHub, download: Callable[..., list[Downloaded]]) -> Path:
    """The bytes of an installed model."""
    hub.add(REPO, File(NAME, CONTENT))
    (file,) = download()
    hub.requests.clear()
    return file.path.resolve()


@pytest.fixture
def mend(store: Store, client: Hub, heard: Heard) -> Callable[[], Verified]:
    """Verify the model, and repair it."""

    def run() -> Verified:
        (found,) = verify(store, store.models(), heard)
        assert not found.ok
        return repair(store, client, found, heard)

    return run


def spoil(blob: Path, *offsets: int) -> None:
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0x10]))


def test_only_the_rotten_chunks_are_fetched(blob: Path, mend, hub: FakeHub, store: Store, heard):
    spoil(blob, CHUNK_BYTES + 5, 3 * CHUNK_BYTES)
    (found,) = verify(store, store.models(), heard)
    assert found.rotten_at == CHUNK_BYTES
    mended = mend()
    assert mended.ok and mended.repaired_bytes == 2 * CHUNK_BYTES
    assert hub.requested_ranges == [
        f"bytes={CHUNK_BYTES}-{2 * CHUNK_BYTES - 1}",
        f"bytes={3 * CHUNK_BYTES}-{4 * CHUNK_BYTES - 1}",
    ]
    assert blob.read_bytes() == CONTENT
    assert blob.stat().st_mode & 0o777 == 0o444
    assert list(blob.parent.iterdir()) == [blob], "nothing is left behind"
    (again,) = verify(store, store.models(), heard)
    assert again.ok


def test_a_rotten_end_is_fetched_too(blob: Path, mend):
    spoil(blob, SIZE - 1)
    assert mend().repaired_bytes == 1000
    assert blob.read_bytes() == CONTENT


def test_what_was_cut_off_is_fetched(blob: Path, mend):
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.truncate(2 * CHUNK_BYTES + 7)
    assert mend().repaired_bytes == SIZE - 2 * CHUNK_BYTES
    assert blob.read_bytes() == CONTENT


def test_a_running_model_keeps_the_bytes_it_has_mapped(blob: Path, mend):
    spoil(blob, 5)
    with blob.open("rb") as mapped:
        before = mapped.read()
        mend()
        mapped.seek(0)
        assert mapped.read() == before
    assert blob.read_bytes() == CONTENT


def test_without_prefixes_everything_is_fetched(blob: Path, mend, home: Path):
    (kept,) = Home(home).prefixes.iterdir()
    kept.unlink()
    spoil(blob, 5)
    assert mend().repaired_bytes == SIZE
    assert blob.read_bytes() == CONTENT


def test_wrong_prefixes_cost_a_download_and_nothing_else(blob: Path, mend, home: Path):
    (kept,) = Home(home).prefixes.iterdir()
    kept.write_bytes(kept.read_bytes()[:32] + bytes(32) + kept.read_bytes()[64:])
    spoil(blob, 4 * CHUNK_BYTES)
    assert mend().ok
    assert blob.read_bytes() == CONTENT


def test_a_hub_that_sends_something_else_is_not_believed(blob: Path, mend, hub: FakeHub):
    spoil(blob, CHUNK_BYTES + 5)
    rotten = blob.read_bytes()
    hub.breaks(flip_bit=(CHUNK_BYTES + 9) * 8)
    with pytest.raises(ChecksumError):
        mend()
    assert blob.read_bytes() == rotten, "what is there is not made worse"
    hub.recovers()
    assert mend().ok


def test_a_file_from_nowhere_cannot_be_mended(
    tmp_path: Path, store: Store, client: Hub, heard: Heard
):
    local = tmp_path / "mine.gguf"
    local.write_bytes(DEMO_FILE.read_bytes())
    register_in_place(store, local, heard)
    spoil(local, 100_000)
    (found,) = verify(store, store.models(), heard)
    with pytest.raises(NotFoundError, match="could be fetched from"):
        repair(store, client, found, heard)


def test_what_nothing_has_touched_is_not_read_when_it_should_be_quick(
    blob: Path, store: Store, heard: Heard
):
    heard.events.clear()
    (found,) = verify(store, store.models(), heard, quick=True)
    assert found.ok and not found.hashed and heard.events == []
    spoil(blob, 7)
    (found,) = verify(store, store.models(), heard, quick=True)
    assert not found.ok and found.hashed


def test_a_file_that_was_replaced_under_the_same_time_is_noticed(
    blob: Path, store: Store, heard: Heard
):
    status = blob.stat()
    twin = blob.with_name("twin")
    twin.write_bytes(CONTENT[:-1] + b"x")
    os.utime(twin, ns=(status.st_atime_ns, status.st_mtime_ns))
    twin.replace(blob)
    (found,) = verify(store, store.models(), heard, quick=True)
    assert not found.ok


def test_prefixes_go_with_the_last_file_that_has_the_bytes(blob: Path, store: Store, home: Path):
    assert list(Home(home).prefixes.iterdir())
    store.remove(store.models()[0])
    assert list(Home(home).prefixes.iterdir()) == []
