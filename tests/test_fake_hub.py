"""The fake hub speaks as the real one does, and misbehaves exactly as told."""

import contextlib
import gzip
import http.client
import json
import random
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.apart import hub_apart
from fakes.hub.certificate import make_authority
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes
from fakes.processes import wait_until

XET = "e" * 64
RESOLVE = f"/{REPO}/resolve/main/{NAME}"
LISTING = f"/api/models/{REPO}"


class Browser:
    """One kept-alive connection."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.connection = (
            http.client.HTTPSConnection(parts.hostname, parts.port, context=tls, timeout=5)
            if tls
            else http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
        )

    def get(
        self, path: str, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        self.connection.request("GET", path, headers=headers or {})
        with self.connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


@pytest.fixture
def browse() -> Iterator[Callable[..., Browser]]:
    """Open connections: ``browse(url, tls)``."""
    with contextlib.ExitStack() as opened:

        def open_one(url: str, tls: ssl.SSLContext | None = None) -> Browser:
            browser = Browser(url, tls)
            opened.callback(browser.connection.close)
            return browser

        yield open_one


@pytest.fixture
def signed(hub: FakeHub, browse: Callable[..., Browser]) -> Callable[[], str]:
    """Return the path on the CDN where the model is, signed anew."""

    def sign() -> str:
        location = browse(hub.endpoint).get(RESOLVE)[1]["Location"]
        return str(location).removeprefix(hub.cdn)

    return sign


@pytest.fixture
def tiny(hub: FakeHub) -> File:
    file = File(NAME, TINY)
    hub.add(REPO, file)
    return file


def test_a_large_file_is_sent_from_disk(hub: FakeHub, tmp_path: Path, browse, signed):
    large = tmp_path / "large.gguf"
    large.write_bytes(model_bytes(3_000_000))
    hub.add(REPO, File(NAME, large))
    status, headers, body = browse(hub.cdn).get(signed(), {"Range": "bytes=1000-2500000"})
    assert (status, headers["Content-Range"]) == (206, "bytes 1000-2500000/3000000")
    assert body == large.read_bytes()[1000:2_500_001]
    wait_until(lambda: hub.sent["cdn"] == len(body))  # it counts after the client may have read
    hub.breaks(drop_at=2_000_000)
    with pytest.raises(http.client.IncompleteRead) as cut:
        browse(hub.cdn).get(signed(), {"Range": "bytes=500000-"})
    assert len(cut.value.partial) == 1_500_000


def test_redirects_can_be_chained_and_then_lead_to_the_answer(hub: FakeHub, tiny: File, browse):
    hub.breaks(where="resolve", hops=3)
    browser, path, seen = browse(hub.endpoint), RESOLVE, []
    while path.startswith("/"):
        status, headers, _ = browser.get(path)
        seen.append(status)
        path = headers["Location"]
    assert seen == [307, 307, 307, 302]
    assert path.startswith(hub.cdn)


def test_links_expire_after_some_uses_or_at_will(hub: FakeHub, tiny: File, browse, signed):
    hub.link_uses = 1
    browser, link = browse(hub.cdn), signed()
    assert [browser.get(link)[0] for _ in range(2)] == [200, 403]
    hub.link_uses, link = None, signed()
    assert browser.get(link)[0] == 200
    hub.expire_links()
    assert browser.get(link)[0] == 403


def test_a_tree_comes_in_pages_and_paths_can_be_asked_for(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
):
    import huggingface_hub

    hub.add(REPO, *(File(f"a/{n}.gguf", b"GGUF%d" % n, xet_hash=XET) for n in range(7)))
    hub.routes.page_size = 3
    api = huggingface_hub.HfApi(endpoint=hub.endpoint, token=False)
    tree = list(api.list_repo_tree(REPO, recursive=True))
    assert [entry.path for entry in tree] == ["a", *(f"a/{n}.gguf" for n in range(7))]
    assert [entry.path for entry in api.list_repo_tree(REPO)] == ["a"]
    (info,) = api.get_paths_info(REPO, ["a/4.gguf", "none"])
    assert info.lfs and info.lfs.sha256 == File("", b"GGUF4").sha256
    about = huggingface_hub.get_hf_file_metadata(
        huggingface_hub.hf_hub_url(REPO, "a/4.gguf", endpoint=hub.endpoint),
        endpoint=hub.endpoint,
    )
    assert about.xet_file_data and about.xet_file_data.file_hash == XET
    huggingface_hub.close_session()


def test_a_listing_may_be_enormous_and_costs_the_hub_nothing(hub: FakeHub, tiny: File, browse):
    hub.breaks(where="api", entries=2_500)
    _, headers, body = browse(hub.endpoint).get(LISTING)
    assert headers["Transfer-Encoding"] == "chunked"
    assert len(json.loads(body)["siblings"]) == 2_500


def test_a_flood_repeats_itself_also_compressed(hub: FakeHub, tiny: File, browse):
    hub.breaks(where="api", body=bytes(1000), repeat=50, compressed=True)
    assert gzip.decompress(browse(hub.endpoint).get(LISTING)[2]) == bytes(50_000)
    hub.recovers()
    hub.breaks(where="api", body=b"[" * 10, repeat=10**9)
    connection = browse(hub.endpoint).connection
    connection.request("GET", LISTING)
    assert connection.getresponse().headers["Content-Length"] == str(10**10)
    connection.close()


def test_too_many_at_once_are_turned_away(hub: FakeHub, tiny: File, browse, signed):
    hub.breaks(beyond=1, status=429, headers={"Retry-After": "3"})
    hub.breaks(stall_at=5)
    first = browse(hub.cdn).connection
    first.request("GET", signed())
    assert first.getresponse().read(5) == TINY[:5]
    status, headers, _ = browse(hub.cdn).get(signed())
    assert (status, headers["Retry-After"]) == (429, "3")
    assert hub.most_busy["cdn"] == 2
    first.close()


def test_faults_by_chance_are_the_same_for_the_same_seed(hub: FakeHub, tiny: File, browse, signed):
    def statuses(seed: int) -> list[int]:
        hub.recovers()
        hub.breaks(status=503, chance=0.5, seed=seed)
        browser, link = browse(hub.cdn), signed()
        return [browser.get(link)[0] for _ in range(12)]

    assert statuses(1) == statuses(1) != statuses(2)
    assert {200, 503} == set(statuses(1))


def test_what_is_left_over_after_a_lie_precedes_the_next_answer(
    hub: FakeHub, tiny: File, browse, signed
):
    body = b"short" + bytes(50_000)  # more than http.client reads ahead
    hub.breaks(status=500, body=body, content_length=5, stays_open=True)
    browser, link = browse(hub.cdn), signed()
    assert browser.get(link)[2] == b"short"
    with pytest.raises(http.client.BadStatusLine):
        browser.get(link)
    ports = {request.connection for request in hub.asked("cdn")}
    assert len(ports) == 1, "the connection stayed open"


def test_the_pace_is_that_of_each_connection(hub: FakeHub, tiny: File, browse, signed):
    hub.breaks(pace=6_000_000)
    link, browsers = signed(), [browse(hub.cdn) for _ in range(4)]
    for browser in browsers:
        browser.connection.request("GET", link)
    bodies = [browser.connection.getresponse().read() for browser in browsers]
    assert bodies == [TINY] * 4
    assert hub.most_busy["cdn"] == 4


def test_the_twin_speaks_tls_and_takes_its_time_over_it(tmp_path: Path, browse):
    authority, context = make_authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority))
    with FakeHub(tls=context) as hub:
        hub.add(REPO, File(NAME, TINY))
        location = browse(hub.endpoint, trusting).get(RESOLVE)[1]["Location"]
        assert location.startswith("https://localhost:")
        browser = browse(hub.cdn, trusting)
        assert browser.get(location.removeprefix(hub.cdn))[2] == TINY
        with pytest.raises(ssl.SSLCertVerificationError):
            browse(hub.endpoint, ssl.create_default_context()).get(RESOLVE)
        hub.delay_handshakes(None)
        late = browse(hub.endpoint, trusting)
        late.connection.timeout = 0.05
        with pytest.raises(TimeoutError):
            late.get(RESOLVE)


def test_it_can_run_in_a_process_of_its_own(browse):
    content = random.Random(3).randbytes(1000)
    with hub_apart() as hub:
        commit = hub.add(REPO, File(NAME, content))
        hub.breaks(where="resolve", status=503, times=1)
        browser = browse(hub.endpoint)
        assert browser.get(RESOLVE)[0] == 503
        assert commit in str(browser.get(RESOLVE)[1])
        hub.breaks(where="resolve", status=500)
        hub.recovers()
        assert browser.get(RESOLVE)[0] == 302
