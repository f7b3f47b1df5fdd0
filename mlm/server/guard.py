"""Who may ask at all. Everything here is decided before routing, for every route alike.

A server on loopback is within reach of every web page that its user opens: through a name that
resolves to 127.0.0.1 (DNS rebinding), and through requests that need no permission from the
server (simple requests). So the Host must be one of ours, a foreign Origin is refused, and a body
must be JSON, which a page cannot send elsewhere without asking first.

With keys, what is not public needs one: any key to ask models, an admin's for the server itself.
"""

import re
from collections.abc import Awaitable, Callable, Sequence

from mlm.server.allowance import Allowances
from mlm.server.connection import MAX_BODY_BYTES, Receive, Scope, Send, send_whole
from mlm.server.dashboard import FILES
from mlm.server.errors import ApiError
from mlm.server.keys import Keys
from mlm.server.keys_file import Key
from mlm.server.session import Sessions, admin_needed, session_tokens, unknown_key

MAX_HEADERS, MAX_HEADER_BYTES = 100, 32 * 1024
# Answered without a key: what orchestrators ask, and the page where one is asked for.
PUBLIC_PATHS = frozenset({"/health", *FILES})
SESSION_PATH = "/admin/session"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SAFE_METHODS = frozenset({"GET", "HEAD"})

App = Callable[[Scope, Receive, Send], Awaitable[None]]
_Headers = dict[bytes, list[bytes]]


class Guard:
    """Lets a request through to ``app``, or answers it with 4xx."""

    def __init__(
        self, app: App, keys: Keys, sessions: Sessions, allowed_hosts: Sequence[str]
    ) -> None:
        self._app, self._keys, self._sessions = app, keys, sessions
        self._hosts = LOOPBACK_HOSTS | {host.lower() for host in allowed_hosts}
        self._allowances = Allowances()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] != "http":
            return  # no lifespan, no web sockets
        try:
            key = self._check(scope)
            if key is not None:
                self._allowances.begin(key)
        except ApiError as error:
            scope["mlm.error"] = error.code
            await send_whole(send, error.status, error.body, error.headers)
            return
        scope["mlm.tenant"] = self._keys.tenant_of(key)
        scope["mlm.key"] = key.name if key is not None else ""
        try:
            await self._app(scope, receive, send)
        finally:
            if key is not None:
                self._allowances.end(key)

    def _check(self, scope: Scope) -> Key | None:
        """Return whose key the request has; None where no key is asked for.

        Raises:
            ApiError: it may not pass.
        """
        headers = _read_headers(scope)
        self._check_host(scope, headers)
        _check_origin(scope, headers)
        _check_path(scope["path"])
        key = self._check_key(scope, headers)
        _check_body(scope["method"], headers)
        return key

    def _check_host(self, scope: Scope, headers: _Headers) -> None:
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

    def _check_key(self, scope: Scope, headers: _Headers) -> Key | None:
        self._keys.follow()
        if not self._keys.required or _is_public(scope):
            return None
        key = self._identify(scope, headers)
        if key is None:
            raise unknown_key()
        if key.scope != "admin" and _is_for_admins(scope["path"]):
            raise admin_needed()
        return key

    def _identify(self, scope: Scope, headers: _Headers) -> Key | None:
        """Return the key that was sent, or that of the browser's session."""
        if shown := _shown_keys(headers):
            return self._keys.find(shown.pop()) if len(shown) == 1 else None
        key = self._sessions.find(session_tokens(scope["headers"]))
        if key is not None:
            _check_page(scope, headers)
        return key


def _is_public(scope: Scope) -> bool:
    path = scope["path"]
    return path in PUBLIC_PATHS or (path == SESSION_PATH and scope["method"] == "POST")


def _is_for_admins(path: str) -> bool:
    return path.startswith("/admin") or path == "/metrics"


def _shown_keys(headers: _Headers) -> set[bytes]:
    """Return the keys that were sent; more than one is one too many."""
    bearers = [value[7:] for value in headers.get(b"authorization", []) if _is_bearer(value)]
    return {value.strip() for value in [*bearers, *headers.get(b"x-api-key", [])]}


def _check_page(scope: Scope, headers: _Headers) -> None:
    """Refuse what comes with our cookie unless it is our own page that asks.

    Another server on this host is "same-site", so its pages get past SameSite=Strict.
    """
    sites = headers.get(b"sec-fetch-site", [])
    if any(site not in (b"same-origin", b"none") for site in sites):
        raise _other_site()
    if scope["method"] not in _SAFE_METHODS:
        if b"origin" not in headers:  # browsers send it; that it is ours has been looked at
            raise _other_site()
        _check_page_header(headers)


def _check_page_header(headers: _Headers) -> None:
    if headers.get(b"x-mlm") != [b"1"]:
        raise ApiError(403, "origin_not_allowed", "a page needs the header X-Mlm: 1 for this")


def _other_site() -> ApiError:
    return ApiError(403, "origin_not_allowed", "web pages of other sites may not use this server")


def _read_headers(scope: Scope) -> _Headers:
    headers: _Headers = {}
    if len(scope["headers"]) > MAX_HEADERS:
        raise ApiError(431, "headers_too_large", f"there are more than {MAX_HEADERS} headers")
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        headers.setdefault(name, []).append(value)
    if size > MAX_HEADER_BYTES:
        raise ApiError(431, "headers_too_large", f"the headers are over {MAX_HEADER_BYTES} bytes")
    return headers


def _check_origin(scope: Scope, headers: _Headers) -> None:
    """Refuse what a page of another site sends, and what would change things without our header."""
    host = headers[b"host"][0].lower()
    own = {b"http://" + host, b"https://" + host}
    origins = headers.get(b"origin", [])
    foreign = any(origin.lower() not in own for origin in origins)
    if foreign or b"cross-site" in headers.get(b"sec-fetch-site", []):
        raise _other_site()
    changes_things = scope["method"] not in _SAFE_METHODS and _is_for_admins(scope["path"])
    if origins and changes_things:
        _check_page_header(headers)


def _check_path(path: str) -> None:
    """Refuse a path that is one thing here and another to the router.

    Routes are found by a pattern whose end also matches before a last line break, so
    ``/metrics%0a`` would be a route for admins that does not look like one.
    """
    if _CONTROL.search(path):
        raise ApiError(404, "not_found", "there is nothing at this path")


def _check_body(method: str, headers: _Headers) -> None:
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
