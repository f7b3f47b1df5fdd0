"""A browser's session: it shows an admin's key once and gets a cookie for it.

The cookie is out of reach of scripts, and of pages of other sites. It says nothing of the key, and
means nothing to another server, or to this one when it has been started again.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlm.server.connection import ClientGone, Headers, Receive, Scope, Send, read_body
from mlm.server.errors import ApiError
from mlm.server.fields import Fields
from mlm.server.keys import Keys
from mlm.server.keys_file import Key
from mlm.server.strict_json import read_object

LIFETIME_S = 12 * 3600
MAX_SESSIONS = 64  # the oldest gives way
MAX_KEY_CHARS = 4096
_COOKIE = re.compile(rb"(?:^|;)\s*mlm_session=([A-Za-z0-9_-]{43})\s*(?=;|$)")


@dataclass(frozen=True, slots=True)
class _Session:
    key_sha256: str
    expires_at: float  # on the clock of `Sessions`


class Sessions:
    """The open sessions of one server, in memory only."""

    def __init__(self, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self._clock = keys, clock
        self._open: dict[bytes, _Session] = {}  # by the digest of the token

    def open(self, key: Key) -> str:
        """Begin a session of an admin's key; return its token."""
        while len(self._open) >= MAX_SESSIONS:
            self._open.pop(next(iter(self._open)))
        token = secrets.token_urlsafe(32)
        self._open[_digest(token.encode())] = _Session(key.sha256, self._clock() + LIFETIME_S)
        return token

    def find(self, tokens: Iterable[bytes]) -> Key | None:
        """Return the key of an open session; None also when it has been revoked meanwhile."""
        for token in tokens:
            session = self._open.get(_digest(token))
            if session is None:
                continue
            key = self._keys.get(session.key_sha256)
            if session.expires_at > self._clock() and key is not None and key.scope == "admin":
                return key
            self._open.pop(_digest(token))
        return None

    def end(self, tokens: Iterable[bytes]) -> None:
        """Forget sessions."""
        for token in tokens:
            self._open.pop(_digest(token), None)


class SessionEndpoint:
    """``POST /admin/session`` with ``{"key": …}`` begins a session, ``DELETE`` ends it."""

    def __init__(self, keys: Keys, sessions: Sessions) -> None:
        self._keys, self._sessions = keys, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] == "DELETE":
            self._sessions.end(session_tokens(scope["headers"]))
            await _send_cookie(send, "", 0)
            return
        try:
            body = await read_body(receive)
        except ClientGone:
            return
        fields = Fields(read_object(body))
        fields.required("key")
        secret = fields.text("key", MAX_KEY_CHARS) or ""
        if not self._keys.required:
            await _send_nothing(send, ())
            return
        token = self._sessions.open(self._admin_key(secret))
        await _send_cookie(send, token, LIFETIME_S)

    def _admin_key(self, secret: str) -> Key:
        key = self._keys.find(secret.encode())
        if key is None:
            raise unknown_key()
        if key.scope != "admin":
            raise admin_needed()
        return key


def session_tokens(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the tokens that a browser sent.

    Another server on this host may have set a cookie of the same name: cookies know no ports.
    """
    cookies = (value for name, value in headers if name == b"cookie")
    return [token for value in cookies for token in _COOKIE.findall(value)]


def unknown_key() -> ApiError:
    """Return the error for somebody who has no key."""
    message = "a valid API key is needed: Authorization: Bearer …"
    return ApiError(401, "invalid_api_key", message)


def admin_needed() -> ApiError:
    """Return the error for somebody whose key is not for this."""
    return ApiError(
        403,
        "admin_key_needed",
        "this needs an admin key; yours is for asking models",
        remedy="mlm keys add NAME --admin",
    )


async def _send_cookie(send: Send, token: str, max_age_s: int) -> None:
    cookie = f"mlm_session={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict"
    await _send_nothing(send, [(b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")])


async def _send_nothing(send: Send, headers: Headers) -> None:
    """Send a 204, which has no body and so no length."""
    await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
