"""What is refused whoever asks: foreign names, pages of other sites, bodies that are not JSON."""

import asyncio
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from fakes.asgi import ask, no_models, routes_of

from mlm.server.app import make_app
from mlm.server.services import Services

OUR_HOSTS = [b"127.0.0.1", b"localhost:8000", b"[::1]:8000", b"LOCALHOST", b"127.0.0.1:1"]
FOREIGN_HOSTS = [
    b"evil.example",
    b"localhost.evil.example",
    b"127.0.0.1.evil.example:8000",
    b"0.0.0.0:8000",
    b"192.168.1.5",
    b"[::]",
    b"localhost:8000@evil.example",
    b"localhost/",
    b"localhost:999999",
    b"localhost:80:80",
    b"",
    b"local\xffhost",
]
FOREIGN_ORIGINS = [
    b"null",
    b"http://evil.example",
    b"https://evil.example:8000",
    b"http://localhost:3000",
    b"http://localhost",
    b"http://localhost:8000.evil.example",
    b"file://",
    b"chrome-extension://abc",
    b"http://127.0.0.1:8000",
    b"",
    b"http://localhost:8000/",
    b"http://localhost:8000, http://evil.example",
]
JSON = (b"content-type", b"application/json")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with no_models(tmp_path) as services:
        yield services


def test_no_route_answers_to_a_foreign_host(services: Services):
    requests = [
        (method, path, [(b"host", host), JSON])
        for (method, path), host in product(routes_of(services), FOREIGN_HOSTS)
    ]
    answers = ask(services, requests)
    assert {answer.status for _, _, answer in answers} == {403}
    assert all(b"cache-control" in answer.headers for _, _, answer in answers)


def test_every_route_answers_to_our_own_names(services: Services):
    requests = [
        (method, path, [(b"host", host), JSON])
        for (method, path), host in product(routes_of(services), [*OUR_HOSTS, b"box.lan:80"])
    ]
    for method, path, answer in ask(services, requests):
        assert answer.status in (200, 204, 400, 404, 503), (method, path, answer)


def test_no_route_answers_to_a_page_of_another_site(services: Services):
    requests = [
        (method, path, [(b"host", b"localhost:8000"), (b"origin", origin), JSON])
        for (method, path), origin in product(routes_of(services), FOREIGN_ORIGINS)
    ]
    requests += [
        (method, path, [(b"host", b"localhost"), (b"sec-fetch-site", b"cross-site"), JSON])
        for method, path in routes_of(services)
    ]
    assert {answer.status for _, _, answer in ask(services, requests)} == {403}


def test_no_answer_ever_allows_another_site(services: Services):
    requests = [
        (method, path, [(b"host", b"localhost"), (b"origin", b"http://localhost"), JSON])
        for method, path in [*routes_of(services), ("OPTIONS", "/v1/models")]
    ]
    for _, _, answer in ask(services, requests):
        assert not [name for name in answer.headers if name.startswith(b"access-control-")]


def test_a_path_with_an_ending_that_routes_overlook_is_no_other_name_of_theirs(
    services: Services,
):
    host = [(b"host", b"localhost")]
    requests = [
        (method, f"{path}{ending}", host)
        for (method, path), ending in product(routes_of(services), ("\n", "\r", "\x00", "\x7f"))
    ]
    assert {answer.status for _, _, answer in ask(services, requests)} == {404}


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"localhost"], [b"localhost", b"evil"]])
def test_a_request_has_exactly_one_host(services: Services, hosts: list[bytes]):
    headers = [(b"host", host) for host in hosts]
    ((_, _, answer),) = ask(services, [("GET", "/health", headers)])
    assert answer.status == 400


def test_our_own_page_may_change_things_only_with_our_header(services: Services):
    page = [(b"host", b"localhost:8000"), (b"origin", b"http://localhost:8000")]
    path = "/admin/clear-cache"
    (_, _, bare), (_, _, named), (_, _, program) = ask(
        services,
        [
            ("POST", path, page),
            ("POST", path, [*page, (b"x-mlm", b"1")]),
            ("POST", path, page[:1]),
        ],
    )
    assert (bare.status, named.status, program.status) == (403, 200, 200)


@pytest.mark.parametrize(
    "kind",
    [
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/jsonp",
        b"text/plain; application/json",
        b"",
    ],
)
def test_a_body_must_be_json_because_pages_may_send_the_rest(services: Services, kind: bytes):
    host = (b"host", b"localhost")
    requests = [
        ("POST", path, [host, (b"content-type", kind), size])
        for path in ("/v1/chat/completions", "/v1/completions", "/admin/clear-cache")
        for size in ((b"content-length", b"2"), (b"transfer-encoding", b"chunked"))
    ]
    assert {answer.status for _, _, answer in ask(services, requests)} == {415}


def test_a_compressed_body_is_refused(services: Services):
    headers = [(b"host", b"localhost"), JSON, (b"content-length", b"9")]
    headers.append((b"content-encoding", b"gzip"))
    ((_, _, answer),) = ask(services, [("POST", "/v1/completions", headers)])
    assert answer.status == 415


def test_an_empty_post_needs_no_content_type(services: Services):
    headers = [(b"host", b"localhost"), (b"content-length", b"0")]
    ((_, _, answer),) = ask(services, [("POST", "/admin/clear-cache", headers)])
    assert answer.status == 200


@pytest.mark.parametrize("size", [b"8388609", b"9" * 18, b"9" * 500])
def test_a_body_that_announces_itself_too_large_is_refused_unread(services: Services, size: bytes):
    headers = [(b"host", b"localhost"), JSON, (b"content-length", size)]
    ((_, _, answer),) = ask(services, [("POST", "/v1/completions", headers)])
    assert answer.status == 413


def test_too_many_or_too_large_headers_are_refused(services: Services):
    host = (b"host", b"localhost")
    many = [host, *((b"x-%d" % i, b"1") for i in range(200))]
    large = [host, (b"x", b"1" * 40_000)]
    answers = ask(services, [("GET", "/health", many), ("GET", "/health", large)])
    assert [answer.status for _, _, answer in answers] == [431, 431]


def test_web_sockets_are_not_spoken(services: Services):
    app = make_app(services)
    asyncio.run(app({"type": "websocket"}, None, None))  # type: ignore[arg-type]
