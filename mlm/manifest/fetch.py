"""A manifest or a lock from the web: small, over https, and exactly the bytes that were named."""

import hashlib
import time
from urllib.parse import SplitResult, urljoin, urlsplit

import mlm
from mlm.errors import IntegrityError, NetworkError, NotFoundError, UsageError
from mlm.store.retry import RETRIED_STATUSES, Retry, asked_wait
from mlm.store.wire import Interrupted, Reply, Wire, host_of, is_loopback, may_redirect
from mlm.strictyaml import MAX_BYTES

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_RETRIES = 3
_TIME_FACTOR = 4  # times the stall limit: the longest that so small a file may take


class WrongBytes(IntegrityError):
    """A file is not the one whose checksum was given."""

    code = "wrong_bytes"

    def __init__(self, name: str, *, expected: str, actual: str) -> None:
        super().__init__(
            f"{name} has sha256 {actual} instead of {expected}",
            remedy="do not use it before you know why: whoever gave you the checksum can tell",
        )


def check_bytes(name: str, content: bytes, sha256: str) -> None:
    """Raise `WrongBytes` unless ``content`` has this checksum; ``name`` is what to call it."""
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise WrongBytes(name, expected=sha256, actual=actual)


def check_url(url: str) -> SplitResult:
    """Return ``url`` taken apart, if it is one that mlm would fetch from.

    Raises:
        UsageError: it is not https (plain http is fine on this machine), or holds a password.
    """
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise UsageError("that is not the address of a file") from error
    if parts.scheme != "https" and not (parts.scheme == "http" and valid and is_loopback(url)):
        raise UsageError(
            f"{parts.scheme}: is not a way to fetch a manifest that can be trusted",
            remedy="use https://, or the path of a file",
        )
    odd = parts.username or parts.password or parts.fragment or not parts.path.strip("/")
    if not valid or odd or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            "that is not the address of a file (a name or password has no place in it)",
            remedy="write it like https://host/folder/mlm.lock",
        )
    return parts


def fetch(url: str, wire: Wire) -> bytes:
    """Return the bytes at ``url``, at most as many as a YAML file may have.

    Raises:
        UsageError: see `check_url`.
        NotFoundError, NetworkError: the server has no such file, or cannot be asked.
    """
    check_url(url)
    retry = Retry(_RETRIES, wire.timeouts.backoff_s)
    while True:
        try:
            return _fetch_once(url, wire)
        except Interrupted as error:
            wait_s = retry.next_wait(error.wait_s)
            if wait_s is None:
                raise
            retry.sleep(wait_s)


def _fetch_once(url: str, wire: Wire) -> bytes:
    headers = {"Accept-Encoding": "identity", "User-Agent": f"mlm/{mlm.__version__}"}
    place = url
    for _ in range(_MAX_REDIRECTS + 1):
        with wire.get(place, headers) as reply:
            if reply.status not in _REDIRECTS:
                return _read(reply, place, wire)
            target = urljoin(place, reply.headers.get("Location") or "")
        if not may_redirect(place, target):
            raise NetworkError(f"{host_of(place)} redirects to a place it must not")
        place = target
    raise NetworkError(f"{host_of(url)} redirects in circles")


def _read(reply: Reply, url: str, wire: Wire) -> bytes:
    host = host_of(url)
    if reply.status in (404, 410):
        raise NotFoundError(f"{host} has no such file", remedy="check the address")
    if reply.status in RETRIED_STATUSES:
        wait_s = asked_wait(reply.headers, time.time())
        raise Interrupted(f"{host} answers {reply.status}", wait_s=wait_s)
    if reply.status != 200:
        raise NetworkError(f"{host} answers {reply.status} instead of sending the file")
    deadline = time.monotonic() + _TIME_FACTOR * wire.timeouts.stall_s
    content = b""
    while piece := reply.read(MAX_BYTES + 1 - len(content)):
        content += piece
        if len(content) > MAX_BYTES:
            raise NetworkError(f"{host} sends more than {MAX_BYTES // 1024} KiB")
        if time.monotonic() > deadline:
            raise NetworkError(f"{host} sends so slowly that it never ends")
    if reply.headers.get("Content-Length") not in (None, str(len(content))):
        raise Interrupted(f"{host} closed the connection early")
    return content
