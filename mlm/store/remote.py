"""The bytes of one file on the hub, from any place on, wherever the hub sends us for them."""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, urljoin

import mlm
from mlm.errors import IntegrityError, NetworkError
from mlm.store.names import is_strong_etag
from mlm.store.refusal import Asked, HubProtocolError, explain_refusal
from mlm.store.retry import RETRIED_STATUSES
from mlm.store.wire import Reply, Wire, host_of, may_redirect, origin

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_LINK_EXPIRED = (401, 403, 410)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class SpoiledError(IntegrityError):
    """What a server sends is not the file that the hub promised."""

    code = "spoiled_download"

    def __init__(self, filename: str, why: str) -> None:
        super().__init__(
            f"{filename} does not arrive as promised: {why}",
            remedy="try again later, or from another network or mirror (HF_ENDPOINT)",
        )


@dataclass(frozen=True, slots=True)
class Access:
    """The hub to ask, and the token that only it may see."""

    endpoint: str
    token: str | None = field(repr=False)
    wire: Wire


class Body:
    """Bytes of a file from ``start`` on. Close it, or use it in a ``with``."""

    def __init__(self, reply: Reply, start: int, total: int | None) -> None:
        self.start = start
        self.total = total  # the size of the whole file, None when the server does not say
        etag = reply.headers.get("ETag") or ""
        self.etag = etag if is_strong_etag(etag) else None  # weak ones cannot be resumed on
        self.host = host_of(reply.url)
        self._reply = reply

    def read(self, limit: int) -> bytes:
        """Return what has arrived, at most ``limit`` bytes; nothing at the end."""
        return self._reply.read(limit)

    def read_into(self, view: memoryview) -> int:
        """Put what has arrived into ``view`` and return how many bytes; 0 at the end."""
        return self._reply.read_into(view)

    def abort(self) -> None:
        """End the connection now: a read that waits in another thread fails."""
        self._reply.abort()

    def close(self) -> None:
        """Give the connection back."""
        self._reply.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class RemoteSource:
    """One file at one commit. It remembers where the hub redirected, until that link expires.

    Several threads may use it.
    """

    def __init__(self, access: Access, repo_id: str, commit: str, filename: str) -> None:
        self.filename = filename
        self._access = access
        self._asked = Asked(access.endpoint, repo_id, commit, filename, access.token is not None)
        self._hub_url = f"{access.endpoint}/{repo_id}/resolve/{commit}/{quote(filename)}"
        self._location: str | None = None

    def open(self, start: int = 0, *, stop: int | None = None, etag: str | None = None) -> Body:
        """Ask for the bytes from ``start`` to before ``stop``, or to the end.

        With ``etag``, only if they are still the same; else the body starts at 0, as it also does
        when the server cannot serve parts.

        Raises:
            Interrupted: worth another attempt.
            SpoiledError: the answer contradicts itself or the request.
            MlmError: the hub refuses.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": f"mlm/{mlm.__version__}"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if etag:
                headers["If-Range"] = etag
        reply = self._follow(headers)
        try:
            return self._check(reply, start, stop)
        except BaseException:
            reply.close()
            raise

    def _follow(self, headers: dict[str, str]) -> Reply:
        """Return the first answer that is no redirect; a link that has expired is renewed once."""
        reply = self._request(self._location or self._hub_url, headers)
        if reply.status in _LINK_EXPIRED and not self._is_hub(reply.url):
            reply.close()
            reply = self._request(self._hub_url, headers)
        self._location = None if self._is_hub(reply.url) else reply.url
        return reply

    def _request(self, url: str, headers: dict[str, str]) -> Reply:
        endpoint, token = self._access.endpoint, self._access.token
        for _ in range(MAX_REDIRECTS + 1):
            own = {"Authorization": f"Bearer {token}"} if token and self._is_hub(url) else {}
            reply = self._access.wire.get(url, headers | own)
            if reply.status not in _REDIRECTS:
                return reply
            location = reply.headers.get("Location") or ""
            reply.close()
            target = _join(url, location)
            if target is None or not may_redirect(endpoint, target):
                raise HubProtocolError(endpoint, "it redirects to a place it must not")
            url = target
        raise HubProtocolError(endpoint, f"it redirects more than {MAX_REDIRECTS} times")

    def _is_hub(self, url: str) -> bool:
        return origin(url) == origin(self._access.endpoint)

    def _check(self, reply: Reply, start: int, stop: int | None) -> Body:
        """Return the body of ``reply`` if it is an honest answer to the request."""
        if reply.status not in (200, 206):
            raise self._refusal(reply, start)
        if (reply.headers.get("Content-Encoding") or "identity").lower() != "identity":
            raise SpoiledError(self.filename, "it is compressed, which nobody asked for")
        if reply.status == 206:
            return Body(reply, start, self._check_range(reply, start, stop))
        length = reply.headers.get("Content-Length") or ""
        return Body(reply, 0, int(length) if length.isascii() and length.isdigit() else None)

    def _check_range(self, reply: Reply, start: int, stop: int | None) -> int:
        given = reply.headers.get("Content-Range") or ""
        match = _CONTENT_RANGE.fullmatch(given)
        if match is None:
            raise SpoiledError(self.filename, "the server sends a part without saying which")
        first, last, total = (int(number) for number in match.groups())
        expected_last = total - 1 if stop is None else min(stop, total) - 1
        if first != start or last != expected_last:
            raise SpoiledError(
                self.filename, f"asked for the bytes from {start}, the server sends {given}"
            )
        return total

    def _refusal(self, reply: Reply, start: int) -> Exception:
        if reply.status == 416:
            return SpoiledError(self.filename, f"the server's file ends before byte {start}")
        if self._is_hub(reply.url) or reply.status in RETRIED_STATUSES:
            asked = self._asked
            if not self._is_hub(reply.url):
                asked = Asked(reply.url, asked.repo_id, asked.revision, asked.filename, True)
            return explain_refusal(reply.status, reply.headers, asked)
        return NetworkError(
            f"{host_of(reply.url)}, where the hub keeps {self.filename}, refuses it"
            f" (status {reply.status})",
            remedy="try again later; what has arrived is kept",
        )


def _join(url: str, location: str) -> str | None:
    """Return the address that ``location`` means at ``url``, None if it is no address at all."""
    try:
        return urljoin(url, location)
    except ValueError:  # half an IPv6 address
        return None
