"""Who may use what: every route, with every kind of key, from every kind of page.

Routes are taken from the application: one that is new fails here until `WHO` says whose it is.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fakes.asgi import Answer, Headers, ask, call, no_models, routes_of
from fakes.keyed import (
    ADMIN,
    HOST,
    OWN_HOST,
    OWN_ORIGIN,
    PLAIN,
    USER,
    api_key,
    bearer,
    keyed,
    log_in,
)
from starlette.routing import Route

from mlm.server.app import make_app, make_router
from mlm.server.dashboard import FILES
from mlm.server.keys import Keys
from mlm.server.keys_file import add_key, digest_of, new_key
from mlm.server.services import Services

WHO = {
    **dict.fromkeys(FILES, "anybody"),  # the page and its parts, which ask for a key
    "/health": "anybody",
    "/openapi.json": "user",
    "/tokenize": "user",
    "/detokenize": "user",
    "/ready": "user",
    "/v1/models": "user",
    "/v1/models/tiny": "user",
    "/v1/chat/completions": "user",
    "/v1/completions": "user",
    "/v1/embeddings": "user",
    "/v1/rerank": "user",
    "/rerank": "user",
    "/metrics": "admin",
    "/admin/stats": "admin",
    "/admin/clear-cache": "admin",
    "/admin/session": "admin",
    "/admin/load": "admin",
    "/admin/unload": "admin",
    "/admin/pin": "admin",
    "/admin/unpin": "admin",
}
# What is shown, and as whom it counts.
SHOWN: dict[str, tuple[list[tuple[bytes, bytes]], str]] = {
    "none": ([], "nobody"),
    "wrong": ([bearer("mlm_nobodys-key")], "nobody"),
    "a digest": ([bearer(digest_of(ADMIN.encode()))], "nobody"),
    "prefix": ([bearer(ADMIN[:-1])], "nobody"),
    "empty": ([bearer("")], "nobody"),
    "empty x-api-key": ([api_key("")], "nobody"),
    "no scheme": ([(b"authorization", ADMIN.encode())], "nobody"),
    "basic": ([(b"authorization", b"Basic " + ADMIN.encode())], "nobody"),
    "a comment": ([api_key("# of the team")], "nobody"),
    "not ascii": ([api_key(b"\xff\xfe\x00")], "nobody"),
    "both differing": ([bearer(ADMIN), api_key(USER)], "nobody"),
    "one empty": ([bearer(ADMIN), api_key("")], "nobody"),
    "two bearers": ([bearer(ADMIN), bearer("mlm_nobodys-key")], "nobody"),
    "a dead cookie": ([(b"cookie", b"mlm_session=" + b"A" * 43)], "nobody"),
    "a key as cookie": ([(b"cookie", b"mlm_session=" + ADMIN.encode())], "nobody"),
    "user": ([bearer(USER)], "user"),
    "user by x-api-key": ([api_key(USER)], "user"),
    "admin": ([(b"authorization", b"bearer  " + ADMIN.encode())], "admin"),
    "both the same": ([bearer(ADMIN), api_key(ADMIN)], "admin"),
    "line of a file": ([api_key(PLAIN)], "admin"),
}
ORIGINS = (None, OWN_ORIGIN, b"http://localhost:3000", b"null", b"https://evil.example")
SITES = (None, b"same-origin", b"same-site", b"cross-site", b"none")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with keyed(tmp_path) as services:
        yield services


def is_public(method: str, path: str) -> bool:
    return WHO[path] == "anybody" or (method, path) == ("POST", "/admin/session")


def may_pass(method: str, path: str, caller: str) -> bool:
    """Tell whether somebody may use a route, as the documentation has it."""
    ranks = ("nobody", "user", "admin")
    return is_public(method, path) or ranks.index(caller) >= ranks.index(WHO[path])


def test_every_route_says_who_may_use_it(services: Services):
    assert {path for _, path in routes_of(services)} == set(WHO)


@pytest.mark.parametrize("name", SHOWN)
def test_each_key_opens_what_it_is_for_and_nothing_else(services: Services, name: str):
    shown, caller = SHOWN[name]
    requests = [(method, path, [HOST, *shown]) for method, path in routes_of(services)]
    for method, path, answer in ask(services, requests):
        if may_pass(method, path, caller):
            assert answer.status not in (401, 403), (method, path)
        else:
            assert answer.status == (403 if caller == "user" else 401), (method, path)
            assert b"mlm_" not in answer.body
            assert (b"www-authenticate" in answer.headers) == (answer.status == 401)


@pytest.mark.parametrize("path", ["/no-such-route", "/admin", "/admin/none", "/metrics/x"])
def test_what_does_not_exist_is_nobodys_business(services: Services, path: str):
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW")
    answers = ask(services, [(method, path, [HOST]) for method in methods])
    assert {answer.status for _, _, answer in answers} == {401}


def test_no_character_makes_a_route_for_admins_look_like_another(services: Services):
    """What the router takes for such a route although it is spelled otherwise."""
    routes = [route for route in make_router(services).routes if isinstance(route, Route)]
    for_admins = [route for route in routes if WHO.get(route.path) == "admin"]
    assert len(for_admins) >= 4
    spelled = {
        spelling
        for route, character in product(for_admins, map(chr, range(0x3000)))
        for spelling in (route.path + character, character + route.path, route.path.upper())
        if route.path_regex.match(spelling)
    }
    assert spelled  # a line break at the end, for one
    requests = [(method, p, [HOST, bearer(USER)]) for p in spelled for method in ("GET", "POST")]
    assert {answer.status for _, _, answer in ask(services, requests)} <= {403, 404}


def test_a_key_of_a_megabyte_is_no_key(services: Services):
    for header in (api_key("k" * 2**20), bearer("k" * 2**20), (b"cookie", b"mlm_session=" * 2**17)):
        requests = [(method, path, [HOST, header]) for method, path in routes_of(services)]
        assert {answer.status for _, _, answer in ask(services, requests)} == {431}


@dataclass(frozen=True)
class Page:
    """From where a browser asks."""

    host: bytes
    origin: bytes | None
    site: bytes | None
    has_our_header: bool

    @property
    def headers(self) -> Headers:
        yield b"host", self.host
        if self.origin is not None:
            yield b"origin", self.origin
        if self.site is not None:
            yield b"sec-fetch-site", self.site
        if self.has_our_header:
            yield b"x-mlm", b"1"

    def is_welcome(self, method: str, path: str, *, by_cookie: bool) -> bool:
        """Tell whether it may ask, as the documentation has it."""
        if self.host != OWN_HOST or self.site == b"cross-site":
            return False
        if self.origin not in (None, OWN_ORIGIN):
            return False
        if by_cookie and self.site == b"same-site":
            return False
        if method in ("GET", "HEAD"):
            return True
        if by_cookie:
            return self.origin is not None and self.has_our_header
        return self.origin is None or self.has_our_header or WHO[path] != "admin"


PAGES = [
    Page(*parts) for parts in product((OWN_HOST, b"evil.example"), ORIGINS, SITES, (True, False))
]


@pytest.mark.parametrize("who", ["none", "user", "admin", "cookie"])
def test_no_page_gets_further_than_it_may(services: Services, who: str):
    shown, caller = SHOWN.get(who, ([], "admin"))
    if who == "cookie":
        shown = [log_in(services)]
    routes = [route for route in routes_of(services) if route[0] != "DELETE"]  # the cookie's end
    cases = [(method, path, page) for (method, path), page in product(routes, PAGES)]
    answers = ask(services, [(m, p, [*page.headers, *shown]) for m, p, page in cases])
    for (method, path, page), (_, _, answer) in zip(cases, answers, strict=True):
        by_cookie = who == "cookie" and not is_public(method, path)
        is_welcome = page.is_welcome(method, path, by_cookie=by_cookie)
        may = is_welcome and may_pass(method, path, caller)
        assert (answer.status not in (401, 403)) == may, (method, path, page)
        assert not [name for name in answer.headers if name.startswith(b"access-control-")]


def test_without_keys_nobody_is_asked_for_one(tmp_path: Path):
    with no_models(tmp_path) as services:
        for shown, _ in SHOWN.values():
            requests = [(method, path, [HOST, *shown]) for method, path in routes_of(services)]
            statuses = {answer.status for _, _, answer in ask(services, requests)}
            assert not statuses & {401, 403}


def test_the_first_key_closes_a_server_that_was_open(tmp_path: Path):
    path = tmp_path / "keys.json"
    with no_models(tmp_path, Keys(path)) as services:

        def status(*headers: tuple[bytes, bytes]) -> int:
            return ask(services, [("GET", "/v1/models", [HOST, *headers])])[0][2].status

        assert status() == 200
        key, secret = new_key("alice", "user")
        add_key(path, key)
        assert (status(), status(bearer(secret))) == (401, 200)


def test_a_server_that_had_keys_never_opens_again(services: Services, tmp_path: Path):
    path = tmp_path / "keys.json"
    services.keys = Keys(path)  # all keys that there are
    routes = routes_of(services)
    closed = [route for route in routes if not is_public(*route)]

    def refused() -> list[tuple[str, str]]:
        answers = ask(services, [(method, path, [HOST]) for method, path in routes])
        return [(method, path) for method, path, answer in answers if answer.status == 401]

    assert refused() == closed
    for damage in (b"{}", b"", b"[]", b"\xff", b'{"schema":"mlm.keys-file/1","keys":[]}'):
        path.write_bytes(damage)
        assert refused() == closed, damage
    path.unlink()
    assert refused() == closed
    path.mkdir()
    assert refused() == closed


def test_each_key_is_a_tenant_of_its_own(services: Services):
    keys = services.keys
    own = keys.add_own()
    tenants = {keys.tenant_of(keys.find(s.encode())) for s in (USER, ADMIN, PLAIN)}
    assert len(tenants) == 3
    assert "" not in tenants
    assert keys.tenant_of(keys.find(own.encode())) == ""


def test_more_requests_than_a_minute_may_have_are_429(tmp_path: Path):
    path = tmp_path / "keys.json"
    slow, slow_secret = new_key("slow", "user", requests_per_minute=2)
    free, free_secret = new_key("free", "user")
    add_key(path, slow)
    add_key(path, free)
    secrets = [slow_secret, slow_secret, slow_secret, free_secret, slow_secret]
    with no_models(tmp_path, Keys(path)) as services:
        requests = [("GET", "/v1/models", [HOST, bearer(secret)]) for secret in secrets]
        answers = [answer for _, _, answer in ask(services, requests)]
    assert [answer.status for answer in answers] == [200, 200, 429, 200, 429]
    assert 1 <= int(answers[2].headers[b"retry-after"]) <= 60
    error = json.loads(answers[2].body)["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")


def test_more_at_once_than_a_key_is_for_are_429_until_one_has_ended(tmp_path: Path):
    key, secret = new_key("narrow", "user", concurrent=1)
    add_key(tmp_path / "keys.json", key)

    async def story(app: Any) -> list[int]:
        headers: Headers = [HOST, bearer(secret)]
        running = asyncio.create_task(call_without_end(app, headers))
        await asyncio.sleep(0)
        beside = await call(app, "GET", "/v1/models", headers)
        running.cancel()
        await asyncio.wait([running])
        after = await call(app, "GET", "/v1/models", headers)
        return [beside.status, after.status]

    with no_models(tmp_path, Keys(tmp_path / "keys.json")) as services:
        assert asyncio.run(story(make_app(services))) == [429, 200]


async def call_without_end(app: Any, headers: Headers) -> Answer:
    """Send a request whose body never ends."""
    waiting = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await waiting.wait()
        return {}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    kind = (b"content-type", b"application/json"), (b"content-length", b"9")
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "root_path": ""}
    await app({**scope, "headers": [*headers, *kind]}, receive, send)
    raise AssertionError("it ended")
