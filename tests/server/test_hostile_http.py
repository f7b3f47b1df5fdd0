"""Requests that no client would write, sent as bytes to a server that has keys."""

import json
import re
from collections.abc import Iterator
from itertools import product
from urllib.parse import quote

import pytest
from fakes.fake_server import FakeServer, serving

from mlm.server.keys_file import add_key, new_key

CLOSE = b"Connection: close\r\n"
HOST = b"Host: localhost\r\n" + CLOSE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        server.wait_for("Loaded")
        yield server


@pytest.fixture(scope="module")
def user(server: FakeServer) -> bytes:
    """The header with a key for asking models; from now on `server` wants one."""
    key, secret = new_key("user", "user")
    add_key(server.home / "home" / "keys.json", key)
    return f"Authorization: Bearer {secret}\r\n".encode()


def statuses(answer: bytes) -> list[int]:
    """Return the status of each response in ``answer``."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


WAYS_TO_ADMIN = [
    b"/admin/stats",
    b"/%61dmin/stats",
    b"/admin%2fstats",
    b"/admin%2Fstats",
    b"//admin/stats",
    b"/./admin/stats",
    b"/v1/../admin/stats",
    b"/v1/%2e%2e/admin/stats",
    b"/v1/models/../../admin/stats",
    b"/health/../admin/stats",
    b"/health%2f..%2fadmin/stats",
    b"/health;/../admin/stats",
    b"/admin/stats/",
    b"/admin/stats?x=/health",
    b"/admin/stats#/health",
    b"/admin/stats%00",
    b"/admin/stats%20",
    b"/ADMIN/stats",
    b"/Admin/Stats",
    b"/admin\\stats",
    b"/admin/stats%0a",
    b"/admin/stats%0d%0a",
    b"/metrics",
    b"/metrics%0a",
    b"/metrics%20",
    b"/metrics%e2%80%a8",
    b"/metrics/",
    b"/%6detrics",
    b"http://localhost/admin/stats",
    b"http://localhost/health",
    b"http:/admin/stats",
    b"localhost/admin/stats",
    b"admin/stats",
    b"*",
    b"\xff/admin/stats",
]
METHODS = [b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"]


def test_no_spelling_of_a_path_gets_a_user_to_the_admins_routes(server: FakeServer, user: bytes):
    for path, method in product(WAYS_TO_ADMIN, METHODS):
        answer = server.raw(method + b" " + path + b" HTTP/1.1\r\n" + HOST + user + b"\r\n")
        (status,) = statuses(answer)
        # That there is a way of asking for models is no secret.
        tells_methods = method == b"OPTIONS" and path.startswith(b"/v1/models/")
        assert status in ((204,) if tells_methods else (400, 403, 404, 405)), (path, method)


def test_no_spelling_of_a_header_is_a_key(server: FakeServer, user: bytes):
    secret = user.split()[2]
    for header in (
        b"Authorization : Bearer " + secret,
        b" Authorization: Bearer " + secret,
        b"X: 1\r\n Authorization: Bearer " + secret,
        b"Authorization:\r\n Bearer " + secret + b"x",
        b"Authorization\x00: Bearer " + secret,
        b"Proxy-Authorization: Bearer " + secret,
        b"X_Api_Key: " + secret,
        b"X-Api-Key: " + secret + b", " + secret,
        b"X-Api-Key: " + secret + b"\x00",
        b"Authorization: Bearer " + secret + b"\r\nAuthorization: Bearer x",
        b"Authorization: Bearer " + secret + b"\r\nx-api-key: x",
        b"Authorization: Bearer " + secret[:-1],
        b"Cookie: mlm_session=" + secret,
    ):
        answer = server.raw(b"GET /v1/models HTTP/1.1\r\n" + HOST + header + b"\r\n\r\n")
        assert statuses(answer) in ([400], [401]), header


@pytest.mark.parametrize(
    "hosts",
    [
        b"",
        b"Host: localhost\r\nHost: localhost\r\n",
        b"Host: localhost\r\nhost: evil.example\r\n",
        b"Host: evil.example\r\nHost: localhost\r\n",
        b"Host: localhost, evil.example\r\n",
        b"Host: localhost\x00\r\n",
        b"Host:\r\n localhost\r\n",
        b"Host: localhost evil.example\r\n",
        b"Host: \xe2\x80\xaelocalhost\r\n",
        b"Host: localhost:8000:8000\r\n",
        b"Host: 0.0.0.0\r\n",
        b"Host: " + b"l" * 2**16 + b"\r\n",
    ],
)
def test_a_request_has_one_host_and_it_is_ours(server: FakeServer, user: bytes, hosts: bytes):
    answer = server.raw(b"GET /v1/models HTTP/1.1\r\n" + CLOSE + hosts + user + b"\r\n")
    assert statuses(answer)[0] in (400, 403, 431)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: +4\r\n\r\nabcd",
        b"Content-Length: 4, 4\r\n\r\nabcd",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
)
def test_no_second_request_hides_in_the_body_of_another(
    server: FakeServer, user: bytes, body: bytes
):
    hidden = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    kind = b"Content-Type: application/json\r\n"
    start = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
    assert 200 not in statuses(server.raw(start + user + kind + body + hidden))


NAMES = [
    "..",
    "../../etc/passwd",
    "a\x00b",
    "a\r\nX-Evil: 1",
    "a\nmlm ERROR forged",
    "\x1b]0;owned\x07",
    "\u202eledom",
    "mödel",
    "\ud7ff\uffff",
    "😀" * 40,
    "a" * 129,
    "%s%n%x",
    "{0.__class__}",
    "' OR 1=1 --",
    "~root",
    "a b",
    "",
    "(a+)+$",
]


def test_a_hostile_name_is_not_found_and_never_comes_back_raw(server: FakeServer, user: bytes):
    for name in NAMES:
        path = f"/v1/models/{quote(name, safe='')}".encode()
        answer = server.raw(b"GET " + path + b" HTTP/1.1\r\n" + HOST + user + b"\r\n")
        assert statuses(answer)[0] in (400, 404), name
        assert_harmless(answer)
        body = json.dumps({"model": name, "prompt": "x"}).encode()
        head = b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n" + HOST + user
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        answer = server.raw(head + length + body)
        assert statuses(answer)[0] in (400, 404), name
        assert_harmless(answer)
    for line in server.log.splitlines():
        assert line.isprintable()
        assert not line.startswith("mlm ERROR forged")


def assert_harmless(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"evil" not in head.lower()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]", body)


def test_names_of_a_megabyte_are_refused(server: FakeServer, user: bytes):
    name = b"a" * 2**20
    answer = server.raw(b"GET /v1/models/" + name + b" HTTP/1.1\r\n" + HOST + user + b"\r\n")
    assert statuses(answer) in ([431], [])  # hung up on while it was still sending
    body = b'{"prompt": "x", "model": "' + name + b'"}'
    head = b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n" + HOST + user
    answer = server.raw(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert statuses(answer) == [404]
    assert len(answer) < 2000
    assert server.ask("GET", "/health").status == 200
