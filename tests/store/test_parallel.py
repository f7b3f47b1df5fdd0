"""Several connections for one file, from a server that caps each of them."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes.heard import Heard
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO

from mlm.errors import NetworkError
from mlm.store.hub import Hub
from mlm.store.types import Downloaded
from mlm.store.wire import Timeouts
from mlm.units import MIB

Download = Callable[..., list[Downloaded]]
SIZE = 24 * MIB
CAP = 4 * MIB  # bytes per second on each connection


@pytest.fixture
def client(hub: FakeHub) -> Iterator[Hub]:
    """The fake hub to a client that is patient: these transfers load the machine."""
    with closing(Hub(hub.endpoint, timeouts=Timeouts(backoff_s=0.001))) as patient:
        yield patient


@pytest.fixture
def big(hub: FakeHub) -> File:
    file = File(NAME, b"GGUF" + random.Random(1).randbytes(SIZE - 4))
    hub.add(REPO, file)
    return file


def most_connections(heard: Heard) -> int:
    return max(event.connections for event in heard.events)


def test_a_capped_server_is_asked_over_several_connections(
    hub: FakeHub, big: File, download: Download, heard: Heard
):
    hub.breaks(pace=CAP)
    (file,) = download()
    assert file.path.read_bytes() == big.content
    assert file.fetched_bytes == SIZE
    assert most_connections(heard) >= 4
    assert heard.events[-1].verified == SIZE


REFUSALS: dict[str, dict[str, Any]] = {
    "429": {"status": 429, "headers": {"Retry-After": "100"}},
    "503": {"status": 503},
    "a reset": {"drop_before_headers": True, "reset": True},
    "the whole file": {"ignore_range": True, "pace": CAP},
    "a wrong range": {"content_range": "bytes 1-2/3", "pace": CAP},
    "403": {"status": 403},
    "404": {"status": 404},
    "another version": {"headers": {"ETag": '"other"'}, "ignore_if_range": True, "pace": CAP},
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_server_that_wants_only_one_connection_gets_one(
    refusal: str, hub: FakeHub, big: File, download: Download, heard: Heard
):
    hub.breaks(beyond=1, **REFUSALS[refusal])
    hub.breaks(pace=CAP * 4)
    (file,) = download()
    assert file.path.read_bytes() == big.content
    assert heard.notes == [], "the first connection goes on undisturbed"
    assert file.fetched_bytes < SIZE + MIB


def test_a_connection_that_breaks_leaves_its_part_to_the_others(
    hub: FakeHub, big: File, download: Download
):
    hub.breaks(pace=CAP, drop_at=SIZE - MIB, skip=2, times=2)
    hub.breaks(pace=CAP)
    (file,) = download()
    assert file.path.read_bytes() == big.content
    assert file.fetched_bytes == SIZE


def test_a_flipped_bit_in_one_part_costs_one_whole_retry(
    hub: FakeHub, big: File, download: Download, heard: Heard
):
    flip = hub.breaks(pace=CAP, flip_bit=(SIZE - 100) * 8)
    paced = hub.breaks(pace=CAP * 8)

    def heal(text: str) -> None:
        heard.notes.append(text)
        hub.faults.remove(flip)

    heard.note = heal  # type: ignore[method-assign]
    (file,) = download()
    assert file.path.read_bytes() == big.content
    assert "fetching it once more from the start" in heard.notes[0]
    assert paced in hub.faults


def test_what_rotted_on_this_disk_is_fetched_again_and_nothing_else(
    hub: FakeHub, big: File, download: Download, hub_cache: Path
):
    hub.breaks(drop_at=20 * MIB, times=1)
    hub.breaks(status=404)
    with pytest.raises(NetworkError):
        download()
    hub.recovers()
    (partial,) = hub_cache.rglob("*.mlm-partial")
    with partial.open("r+b") as file:
        file.seek(10 * MIB)
        file.write(b"rot")
    (file,) = download()
    assert file.path.read_bytes() == big.content
    assert file.fetched_bytes >= 16 * MIB, "from the chunk on that has rotted"
    assert hub.requested_ranges[-1] == f"bytes={8 * MIB}-"
