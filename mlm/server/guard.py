"""Who may ask at all. Everything here is decided before routing, for every route alike.

A server on loopback is within reach of every web page that its user opens: through a name that
resolves to 127.0.0.1 (DNS rebinding), and through requests that need no permission from the
server (simple requests). So the Host must be one of ours, a foreign Origin is refused, and a body
must be JSON, which a page cannot send elsewhere without asking first.
"""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlm.errors import UsageError
from mlm.server.connection import MAX_BODY_BYTES, Receive, Scope, Send, send_whole
from mlm.server.dashboard import FILES
from mlm.server.errors import ApiError

MAX_HEADERS, MAX_HEADER_BYTES = 100, 32 * 1024
# Answered without a key: what orchestrators ask, and the page where one is asked for.
PUBLIC_PATHS = frozenset({"/health", *FILES})
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_SAFE_METHODS = frozenset({"GET", "HEAD"})
MIN_KEY_CHARS = 8

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Keys:
    """The API keys of a server, as digests only. Without any, no key is asked for."""

    digests: frozenset[bytes] = frozenset()

    @classmethod
    def from_file(cls, path: Path) -> "Keys":
        """Return the keys in a file: one per line; empty lines and ``#`` comments are skipped.

        Raises:
            UsageError: the file cannot be read, holds no key, or one that is too short.
        """
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the API keys in {path} cannot be read: {error}") from error
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise UsageError(
                f"there is no API key in {path}",
                remedy=f"python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > {path}",
            )
        if short := [key for key in keys if len(key) < MIN_KEY_CHARS]:
            raise UsageError(
                f"{len(short)} of the API keys in {path} have fewer than {MIN_KEY_CHARS} characters"
            )
        return cls(frozenset(_digest(key.encode()) for key in keys))

    def tenant(self, given: bytes) -> str | None:
        """Return a stable name of the owner of a key; None when it is not one of the keys."""
        digest = _digest(given)
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        return digest.hex()[:16] if any(matches) else None


class Guard:
    """Lets a request through to ``app``, or answers it with 4xx."""

    def __init__(self, app: App, keys: Keys, allowed_hosts: Sequence[str]) -> None:
        self._app, self._keys = app, keys
        self._hosts = LOOPBACK_HOSTS | {host.lower() for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] != "http":
            return  # no lifespan, no web sockets
        try:
            headers = _read_headers(scope)
            self._check_host(scope, headers)
            _check_origin(scope, headers)
            scope["mlm.tenant"] = self._check_key(scope["path"], headers)
            _check_body(scope["method"], headers)
        except ApiError as error:
            scope["mlm.error"] = error.code
            await send_whole(send, error.status, error.body, error.headers)
            return
        await self._app(scope, receive, send)

    def _check_host(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> None:
        target = scope.get("extensions", {}).get("mlm", {}).get("target", b"/")
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or not target.startswith(b"/"):
            raise ApiError(400, "bad_host", "a request needs exactly one Host, in its header")
        match = _HOST.fullmatch(hosts[0])
        if match is None or match[1].decode("ascii").lower() not in self._hosts:
            raise ApiError(
                403,
                "host_not_allowed",
                "this server does not go by the name in the Host header",
                remedy="mlm serve --allow-host NAME",
            )

    def _check_key(self, path: str, headers: dict[bytes, list[bytes]]) -> str:
        """Return the tenant: "" for everybody when no keys are configured."""
        if not self._keys.digests or path in PUBLIC_PATHS:
            return ""
        given = {
            *(
                value[7:].strip()
                for value in headers.get(b"authorization", [])
                if _is_bearer(value)
            ),
            *(value.strip() for value in headers.get(b"x-api-key", [])),
        }
        tenant = self._keys.tenant(given.pop()) if len(given) == 1 else None
        if tenant is None:
            raise ApiError(
                401, "invalid_api_key", "a valid API key is needed: Authorization: Bearer …"
            )
        return tenant


def _read_headers(scope: Scope) -> dict[bytes, list[bytes]]:
    headers: dict[bytes, list[bytes]] = {}
    if len(scope["headers"]) > MAX_HEADERS:
        raise ApiError(431, "headers_too_large", f"there are more than {MAX_HEADERS} headers")
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        headers.setdefault(name, []).append(value)
    if size > MAX_HEADER_BYTES:
        raise ApiError(431, "headers_too_large", f"the headers are over {MAX_HEADER_BYTES} bytes")
    return headers


def _check_origin(scope: Scope, headers: dict[bytes, list[bytes]]) -> None:
    """Refuse what a page of another site sends, and what would change things without our header."""
    host = headers[b"host"][0].lower()
    own = {b"http://" + host, b"https://" + host}
    origins = headers.get(b"origin", [])
    foreign = any(origin.lower() not in own for origin in origins)
    if foreign or b"cross-site" in headers.get(b"sec-fetch-site", []):
        raise ApiError(
            403, "origin_not_allowed", "web pages of other sites may not use this server"
        )
    changes_things = scope["method"] not in _SAFE_METHODS and scope["path"].startswith("/admin/")
    if origins and changes_things and headers.get(b"x-mlm") != [b"1"]:
        raise ApiError(403, "origin_not_allowed", "a page needs the header X-Mlm: 1 for this")


def _check_body(method: str, headers: dict[bytes, list[bytes]]) -> None:
    length = headers.get(b"content-length", [b"0"])[0]
    if length.isdigit() and int(length[:19]) > MAX_BODY_BYTES:
        raise ApiError(413, "body_too_large", f"the body is over {MAX_BODY_BYTES} bytes")
    has_body = length.strip(b"0") != b"" or b"transfer-encoding" in headers
    if method in _SAFE_METHODS or not has_body:
        return
    kind = headers.get(b"content-type", [b""])[0].split(b";")[0].strip().lower()
    if kind != b"application/json" or b"content-encoding" in headers:
        raise ApiError(
            415,
            "unsupported_media_type",
            "the body must be plain JSON: Content-Type: application/json",
        )


def _is_bearer(value: bytes) -> bool:
    return value[:7].lower() == b"bearer "


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
