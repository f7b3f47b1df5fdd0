"""What comes from the web is small, over https, from where it should be, or refused."""

from collections.abc import Iterator

import pytest
from fakes.web import Page, Web, serving_web

from mlm.errors import MlmError, NetworkError, NotFoundError, UsageError
from mlm.manifest.fetch import WrongBytes, check_bytes, check_url, fetch
from mlm.store.wire import Timeouts, Wire
from mlm.strictyaml import MAX_BYTES

QUICK = Timeouts(connect_s=2, first_byte_s=2, stall_s=2, trickle_s=2, backoff_s=0.001)  # seconds


@pytest.fixture
def web() -> Iterator[Web]:
    with serving_web() as server:
        server.pages["/mlm.yaml"] = Page(b"models: []")
        yield server


@pytest.fixture
def wire() -> Iterator[Wire]:
    opened = Wire(QUICK)
    yield opened
    opened.close()


def redirect(target: str) -> Page:
    return Page(status=302, headers={"Location": target})


def test_a_small_file_arrives(web: Web, wire: Wire):
    assert fetch(f"{web.url}/mlm.yaml", wire) == b"models: []"


def test_a_redirect_on_the_same_machine_is_followed(web: Web, wire: Wire):
    web.pages["/latest"] = redirect("/mlm.yaml")
    assert fetch(f"{web.url}/latest", wire) == b"models: []"


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.1.1/",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "http://127.0.0.1:x/",
        "",
    ],
)
def test_a_redirect_to_anywhere_else_is_refused(web: Web, wire: Wire, target: str):
    web.pages["/latest"] = redirect(target)
    with pytest.raises(NetworkError, match="redirects"):
        fetch(f"{web.url}/latest", wire)


def test_redirects_end(web: Web, wire: Wire):
    web.pages["/a"], web.pages["/b"] = redirect("/b"), redirect("/a")
    with pytest.raises(NetworkError, match="in circles"):
        fetch(f"{web.url}/a", wire)
    assert len(web.asked) == 6


def test_a_flood_is_cut_off(web: Web, wire: Wire):
    web.pages["/flood"] = Page(b"#" * (MAX_BYTES + 1))
    with pytest.raises(NetworkError, match="more than 1024 KiB"):
        fetch(f"{web.url}/flood", wire)


def test_a_server_that_is_busy_is_asked_again(web: Web, wire: Wire):
    web.pages["/mlm.yaml"].before = [503, 429]
    assert fetch(f"{web.url}/mlm.yaml", wire) == b"models: []"


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (Page(status=404), NotFoundError),
        (Page(status=403), NetworkError),
        (Page(status=500, before=[500] * 9), NetworkError),
        (Page(b"x", headers={"Content-Length": "9"}), NetworkError),
    ],
    ids=["gone", "forbidden", "broken", "cut"],
)
def test_what_does_not_come_says_so(web: Web, wire: Wire, page: Page, error: type[MlmError]):
    web.pages["/x"] = page
    web.pages["/x"].headers |= {"Connection": "close"}
    with pytest.raises(error):
        fetch(f"{web.url}/x", wire)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/mlm.yaml",
        "file:///etc/passwd",
        "ftp://example.org/mlm.yaml",
        "https:///mlm.yaml",
        "https://",
        "https://example.org",
        "https://user:secret@example.org/mlm.yaml",
        "https://example.org:x/mlm.yaml",
        "https://example.org:0/mlm.yaml",
        "https://example.org/mlm.yaml#part",
        "https://example.org/mlm yaml",
        "https://exämple.org/mlm.yaml",
        "https://example.org/\r\nHost: x",
        "https://[::1",
        "javascript://x/y",
    ],
)
def test_an_address_that_cannot_be_trusted_is_refused_unasked_and_keeps_its_secrets(url: str):
    with pytest.raises(UsageError) as refused:
        check_url(url)
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    "url", ["https://example.org/a/mlm.lock?token=x", "http://127.0.0.1:1/x", "http://[::1]/x"]
)
def test_https_and_this_machine_are_fine(url: str):
    check_url(url)


def test_other_bytes_are_named_with_both_checksums():
    with pytest.raises(WrongBytes, match=r"ba7816bf\w+ instead of 0{64}"):
        check_bytes("mlm.lock", b"abc", "0" * 64)
