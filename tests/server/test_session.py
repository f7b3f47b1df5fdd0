"""A browser shows a key once, and has a session from then on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.asgi import Headers, ask, no_models
from fakes.clock import Clock
from fakes.keyed import (
    ADMIN,
    HOST,
    OWN_ORIGIN,
    PLAIN,
    USER,
    bearer,
    begin_session,
    keyed,
    log_in,
)

from mlm.server.keys import Keys
from mlm.server.keys_file import digest_of, new_key, revoke_key
from mlm.server.services import Services
from mlm.server.session import LIFETIME_S, MAX_SESSIONS, Sessions


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with keyed(tmp_path) as services:
        yield services


def status(services: Services, *headers: tuple[bytes, bytes]) -> int:
    """Return how ``GET /admin/stats`` is answered."""
    return ask(services, [("GET", "/admin/stats", [HOST, *headers])])[0][2].status


@pytest.mark.parametrize("secret", [ADMIN, PLAIN])
def test_an_admins_key_begins_one(services: Services, secret: str):
    answer = begin_session(services, {"key": secret})
    assert (answer.status, answer.body) == (204, b"")
    assert b"content-length" not in answer.headers
    cookie = answer.headers[b"set-cookie"].decode()
    assert set(cookie.split("; ")[1:]) == {
        "Path=/",
        "HttpOnly",
        "SameSite=Strict",
        f"Max-Age={LIFETIME_S}",
    }
    assert secret not in cookie
    assert status(services, log_in(services, secret)) == 200


@pytest.mark.parametrize("secret", ["", "nobodys-key", USER, digest_of(ADMIN.encode()), "\u00e9"])
def test_no_other_key_does(services: Services, secret: str):
    answer = begin_session(services, {"key": secret})
    assert answer.status == (403 if secret == USER else 401)
    assert b"set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", {}, {"key": None}, {"key": 1}, {"key": ["a"]}, {"key": "k" * 5000}]
)
def test_nonsense_does_not(services: Services, body: object):
    answer = begin_session(services, body)
    assert answer.status in (400, 401)
    assert b"set-cookie" not in answer.headers


def test_a_page_needs_our_header_to_begin_one(services: Services):
    origin = (b"origin", OWN_ORIGIN)
    assert begin_session(services, {"key": ADMIN}, origin).status == 403
    assert begin_session(services, {"key": ADMIN}, origin, (b"x-mlm", b"1")).status == 204


def test_it_ends_when_the_page_ends_it(services: Services):
    cookie = log_in(services)
    page: Headers = [HOST, (b"origin", OWN_ORIGIN), (b"x-mlm", b"1"), cookie]
    ((_, _, answer),) = ask(services, [("DELETE", "/admin/session", page)])
    assert answer.status == 204
    assert b"Max-Age=0" in answer.headers[b"set-cookie"]
    assert status(services, cookie) == 401


def test_it_ends_with_its_key(services: Services, tmp_path: Path):
    cookie = log_in(services)
    assert status(services, cookie) == 200
    revoke_key(tmp_path / "keys.json", "admin")
    assert status(services, cookie) == 401


def test_it_ends_when_its_key_is_no_admins_any_more(services: Services, tmp_path: Path):
    cookie = log_in(services)
    path = tmp_path / "keys.json"
    path.write_text(path.read_text().replace('"scope": "admin"', '"scope": "user"'))
    assert status(services, cookie) == 401


def test_a_key_that_is_shown_counts_more(services: Services):
    cookie = log_in(services)
    assert status(services, cookie, bearer("mlm_nobodys-key")) == 401
    assert status(services, cookie, bearer(USER)) == 403


def test_a_cookie_of_another_server_on_this_host_does_no_harm(services: Services):
    _, ours = log_in(services)
    theirs = b"mlm_session=" + b"B" * 43
    for cookies in ([theirs + b"; " + ours], [ours + b"; " + theirs], [b"mlm_session=x", ours]):
        assert status(services, *((b"cookie", cookie) for cookie in cookies)) == 200


def test_a_cookie_that_only_looks_like_ours_is_none(services: Services):
    _, ours = log_in(services)
    for name in (b"xmlm_session", b"mlm_session2", b"MLM_SESSION", b" mlm-session"):
        assert status(services, (b"cookie", ours.replace(b"mlm_session", name))) == 401


def test_without_keys_there_is_nothing_to_begin(tmp_path: Path):
    with no_models(tmp_path) as services:
        answer = begin_session(services, {"key": "anything"})
    assert answer.status == 204
    assert b"set-cookie" not in answer.headers


def test_it_ends_after_half_a_day():
    clock = Clock()
    key, _ = new_key("root", "admin")
    sessions = Sessions(Keys(plain=[key]), clock)
    token = sessions.open(key).encode()
    clock.now += LIFETIME_S - 1
    assert sessions.find([token]) == key
    clock.now += 1
    assert sessions.find([token]) is None


def test_one_too_many_ends_the_oldest():
    key, _ = new_key("root", "admin")
    sessions = Sessions(Keys(plain=[key]))
    tokens = [sessions.open(key).encode() for _ in range(MAX_SESSIONS + 1)]
    assert sessions.find(tokens[:1]) is None
    assert all(sessions.find([token]) for token in tokens[1:])


def test_another_server_knows_nothing_of_it():
    key, _ = new_key("root", "admin")
    keys = Keys(plain=[key])
    token = Sessions(keys).open(key).encode()
    assert Sessions(keys).find([token]) is None
