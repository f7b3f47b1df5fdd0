"""Whatever the network and the servers do, a wrong byte never gets a final name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.heard import Heard
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import NetworkError
from mlm.store.download import ChecksumError
from mlm.store.remote import SpoiledError
from mlm.store.types import Downloaded

Download = Callable[..., list[Downloaded]]
OTHER = model_bytes(len(TINY), seed=2)
HTML = b"<!doctype html><title>502</title>" + b" " * len(TINY)

INTERRUPTIONS: dict[str, dict[str, Any]] = {
    "drop with FIN": {"drop_at": 200_000},
    "drop with RST": {"drop_at": 200_000, "reset": True},
    "drop before the headers": {"drop_before_headers": True},
    "reset before the headers": {"drop_before_headers": True, "reset": True},
    "stall in the body": {"stall_at": 200_000},
    "stall before the headers": {"stall_before_headers": True},
    "a head that never ends": {"dribble": b"H"},
    "hope without end": {"dribble": b"HTTP/1.1 100 Continue\r\n\r\n"},
    "no HTTP": {"dribble": b"\x1b[31m junk\r\n"},
    "less than its length says": {"drop_at": 299_999, "content_length": 300_000},
    "status 503": {"status": 503},
    "status 500": {"status": 500},
    "status 429": {"status": 429, "headers": {"Retry-After": "0"}},
    "status 408": {"status": 408},
    "502 with a page": {"status": 502, "body": HTML},
    "expired link": {"status": 403},
}
WRONG_FILES: dict[str, dict[str, Any]] = {
    "a bit flipped": {"flip_bit": 200_000 * 8},
    "the last bit flipped": {"flip_bit": len(TINY) * 8 - 1},
    "spliced from another file": {"splice": (200_000, OTHER)},
    "another file": {"splice": (0, OTHER)},
    "a page instead": {"splice": (0, HTML)},
    "shorter": {"shorten": 1000},
    "longer": {"append": b"junk"},
    "longer than it says": {"append": b"junk", "chunked": True},
    "compressed": {"compressed": True},
    "no Content-Range": {"content_range": "none", "partial_for_whole": True},
    "wrong Content-Range": {"content_range": "bytes 17-299999/300000", "partial_for_whole": True},
    "wrong total": {"content_range": "bytes 0-299999/300001", "partial_for_whole": True},
    "416": {"status": 416},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "chunked": {"chunked": True},
    "HTTP/1.0": {"close_delimited": True},
    "ignores Range": {"ignore_range": True},
    "ignores If-Range": {"ignore_if_range": True},
    "no ETag": {"without": ("ETag",)},
    "weak ETag": {"headers": {"ETag": 'W/"abc"'}},
    "another ETag each time": {"headers": {"ETag": '"new"'}},
}


@pytest.fixture(params=["fresh", "resumed"])
def started(request: pytest.FixtureRequest, hub: FakeHub, tiny: File, download: Download) -> bool:
    """A download that has not begun, and one that broke off for good after 180,000 bytes."""
    if request.param == "fresh":
        return False
    hub.breaks(drop_at=180_000, times=1)
    hub.breaks(status=404)
    with pytest.raises(NetworkError):
        download()
    hub.recovers()
    hub.requests.clear()
    return True


@pytest.mark.parametrize("fault", HARMLESS)
def test_an_odd_server_is_understood(
    fault: str, started: bool, hub: FakeHub, download: Download, heard: Heard
):
    hub.breaks(**HARMLESS[fault])
    (file,) = download()
    assert file.path.read_bytes() == TINY
    assert heard.notes == [], "nothing had to be fetched twice"


@pytest.mark.parametrize("fault", INTERRUPTIONS)
def test_an_interruption_is_outlived(fault: str, started: bool, hub: FakeHub, download: Download):
    hub.breaks(times=1, **INTERRUPTIONS[fault])
    (file,) = download()
    assert file.path.read_bytes() == TINY
    assert file.fetched_bytes == len(TINY) - (180_000 if started else 0)
    assert file.status == ("resumed" if started else "downloaded")


@pytest.mark.parametrize("fault", WRONG_FILES)
def test_a_wrong_file_is_fetched_once_more(
    fault: str, hub: FakeHub, tiny: File, download: Download, heard: Heard
):
    hub.breaks(times=1, **WRONG_FILES[fault])
    (file,) = download()
    assert file.path.read_bytes() == TINY
    assert any("once more" in note for note in heard.notes)


@pytest.mark.parametrize("fault", WRONG_FILES)
def test_a_file_that_stays_wrong_is_refused_and_leaves_nothing(
    fault: str, started: bool, hub: FakeHub, download: Download, hub_cache: Path
):
    hub.breaks(**WRONG_FILES[fault])
    with pytest.raises(SpoiledError):
        download()
    left = [p.name for p in hub_cache.rglob("*") if p.is_file() or p.is_symlink()]
    assert [name for name in left if not name.endswith((".lock", ".TAG"))] == []


def test_a_wrong_checksum_names_both(hub: FakeHub, tiny: File, download: Download):
    hub.breaks(flip_bit=8_000)
    with pytest.raises(ChecksumError) as failure:
        download()
    wrong = File(NAME, hub.faults[0].corrupt(TINY))
    assert tiny.sha256 in failure.value.message
    assert wrong.sha256 in failure.value.message
    assert len(hub.asked("cdn")) == 2


def test_a_resumed_download_asks_for_the_same_version_only(
    hub: FakeHub, tiny: File, download: Download
):
    hub.breaks(drop_at=180_000, times=1)
    download()
    first, second = hub.asked("cdn")
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=180000-"
    assert second.headers["if-range"] == f'"{tiny.sha256}"'


def test_a_flood_is_cut_off_at_the_promised_size(hub: FakeHub, tiny: File, download: Download):
    hub.breaks(append=bytes(20_000_000), chunked=True)
    with pytest.raises(SpoiledError, match="more than it has"):
        download()


def test_a_page_instead_of_a_model_is_recognised_at_once(hub: FakeHub, download: Download):
    file = File(NAME, b"<!doctype html>" + bytes(8_000_000))
    hub.add(REPO, file)
    with pytest.raises(SpoiledError, match="an HTML page"):
        download()


def test_a_server_that_never_gets_better_is_given_up(hub: FakeHub, tiny: File, download: Download):
    hub.breaks(status=503)
    with pytest.raises(NetworkError, match="503"):
        download()
    assert len(hub.asked("cdn")) == 7, "one attempt and six retries"


def test_what_a_server_says_instead_of_http_is_not_repeated(
    hub: FakeHub, tiny: File, download: Download
):
    hub.breaks(dribble=b"\x1b[31m junk\r\n")
    with pytest.raises(NetworkError, match="what it answers is not HTTP") as failure:
        download()
    assert "junk" not in failure.value.message


def test_a_trickle_counts_as_a_stall(hub: FakeHub, tiny: File, download: Download):
    hub.breaks(chunked=True, pace=200, times=1)
    (file,) = download()
    assert file.path.read_bytes() == TINY
    assert len(hub.asked("cdn")) == 2


def test_a_rate_that_was_asked_for_is_no_trickle(hub: FakeHub, download: Download):
    hub.add(REPO, File(NAME, TINY[:400]))
    (file,) = download(limit_rate=500)
    assert file.path.read_bytes() == TINY[:400]
    assert hub.requested_ranges == [None], "it was not taken for a stall"
