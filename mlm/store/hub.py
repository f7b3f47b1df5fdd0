"""A hub: what is in a repository, and the bytes of its files."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from mlm.errors import AuthError, NetworkError, UsageError
from mlm.store.metadata import fetch_listing, fetch_matches
from mlm.store.names import is_commit, is_filename, is_repo_id, is_revision
from mlm.store.refusal import Asked, HubProtocolError
from mlm.store.remote import Access, RemoteSource
from mlm.store.retry import Retry
from mlm.store.types import RepoFiles, RepoSummary
from mlm.store.wire import Interrupted, Timeouts, Unreachable, Wire, host_of, is_loopback
from mlm.units import MIB

_LISTING_RETRIES = 3
_RANGE_RETRIES = 3
_FIRST_READ_BYTES = MIB

_T = TypeVar("_T")
OnWait = Callable[[str, float], None]  # why, and for how many seconds


class Hub:
    """The configured endpoint; ``huggingface.co`` or a mirror of it. Asks only what is asked of it.

    ``use_proxies=False`` is for a hub inside this machine. ``on_wait`` hears of every wait between
    two attempts.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        offline: bool = False,
        *,
        timeouts: Timeouts | None = None,
        use_proxies: bool = True,
        on_wait: OnWait | None = None,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        _check_endpoint(self.endpoint, token)
        self.offline = offline
        self.timeouts = timeouts or Timeouts()
        self._access = Access(self.endpoint, token, Wire(self.timeouts, use_proxies=use_proxies))
        self._on_wait = on_wait or (lambda why, wait_s: None)

    def resolve(self, repo_id: str, revision: str = "main") -> RepoFiles:
        """Return the commit that ``revision`` is, and the GGUF files there.

        Raises:
            UsageError: repository or revision cannot be names.
            NotFoundError, AuthError, NetworkError: as the hub answers, or does not.
        """
        if not is_repo_id(repo_id):
            raise UsageError(f"'{repo_id}' is not a repository", remedy="write it like org/repo")
        if not is_revision(revision):
            raise UsageError(f"'{revision}' is not a revision", remedy="--revision main")
        self._check_online(repo_id)
        token, wire = self._access.token, self._access.wire
        asked = Asked(self.endpoint, repo_id, revision, None, token is not None)
        return self._persist(lambda: fetch_listing(asked, token, wire))

    def search(self, text: str, limit: int) -> list[RepoSummary]:
        """Return up to ``limit`` repositories with GGUF files, those downloaded most first.

        Raises:
            NetworkError: the hub does not answer, or mlm was told to stay offline.
        """
        self._check_online("what you search for")
        token, wire = self._access.token, self._access.wire
        asked = Asked(self.endpoint, "the search", "main", None, token is not None)
        return self._persist(lambda: fetch_matches(asked, text, limit, token, wire))

    def _persist(self, fetch: Callable[[], _T]) -> _T:
        """Return what ``fetch`` does, tried again where that may help."""
        retry = Retry(_LISTING_RETRIES, self.timeouts.backoff_s)
        while True:
            try:
                return fetch()
            except Unreachable:
                raise  # nobody has answered yet: more likely a wrong address than a short failure
            except Interrupted as error:
                self.wait(retry, error)

    def source(self, repo_id: str, commit: str, filename: str) -> RemoteSource:
        """Return the bytes of a file at a commit; nothing is asked yet.

        Raises:
            NetworkError: mlm was told to stay offline.
        """
        if not (is_repo_id(repo_id) and is_commit(commit) and is_filename(filename)):
            raise UsageError(f"'{repo_id}/{filename}' at '{commit}' cannot be a file on a hub")
        self._check_online(repo_id)
        return RemoteSource(self._access, repo_id, commit, filename)

    def open_remote(self, repo_id: str, commit: str, filename: str) -> "RemoteBytes":
        """Return a file on the hub as something that can be read in pieces, size known.

        Raises:
            NotFoundError, AuthError, NetworkError: as the hub answers, or does not.
        """
        return RemoteBytes(self, self.source(repo_id, commit, filename))

    def wait(self, retry: Retry, error: Interrupted) -> None:
        """Sleep before the next attempt after ``error``, or raise it when it is time to give up."""
        wait_s = retry.next_wait(error.wait_s)
        if wait_s is None:
            raise error
        self._on_wait(error.message, wait_s)
        retry.sleep(wait_s)

    def close(self) -> None:
        """Close the connections that are kept for the next request; it can be used again."""
        self._access.wire.close()

    def _check_online(self, repo_id: str) -> None:
        if self.offline:
            raise NetworkError(
                f"mlm was told to stay offline, and {repo_id} is on {host_of(self.endpoint)}",
                remedy="leave out --offline, and unset MLM_OFFLINE and HF_HUB_OFFLINE",
            )


def _check_endpoint(endpoint: str, token: str | None) -> None:
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.username or parts.query or parts.fragment:
        raise UsageError(
            "HF_ENDPOINT is not the address of a hub", remedy="export HF_ENDPOINT=https://host"
        )
    if token and parts.scheme == "http" and not is_loopback(endpoint):
        raise AuthError(
            f"a token would cross the network unencrypted to {host_of(endpoint)}",
            remedy="use an https:// endpoint, or unset HF_TOKEN",
        )


class RemoteBytes:
    """A remote file read by ranges, one request each.

    Where the ``size`` is not known, it comes with the first MiB, which is then kept.
    """

    def __init__(self, hub: Hub, source: RemoteSource, size: int | None = None) -> None:
        self._hub = hub
        self._source = source
        self._head = b""
        if size is None:
            self._head, size = self._fetch(0, _FIRST_READ_BYTES)
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Return the ``length`` bytes from ``offset``; fewer only at the end of the file.

        Raises:
            NetworkError, IntegrityError: they do not come, or not as asked.
        """
        stop = min(offset + length, self.size)
        if stop <= len(self._head):
            return self._head[offset:stop]
        return self._fetch(offset, stop)[0]

    def _fetch(self, start: int, stop: int) -> tuple[bytes, int]:
        """Return the bytes of a range, and the size of the whole file."""
        retry = Retry(_RANGE_RETRIES, self._hub.timeouts.backoff_s)
        while True:
            try:
                return self._fetch_once(start, stop)
            except Interrupted as error:
                self._hub.wait(retry, error)

    def _fetch_once(self, start: int, stop: int) -> tuple[bytes, int]:
        with self._source.open(start, stop=stop) as body:
            if body.start != start or body.total is None:
                raise HubProtocolError(self._hub.endpoint, "it cannot send a part of a file")
            wanted = min(stop, body.total) - start
            parts: list[bytes] = []
            while wanted > 0:
                part = body.read(wanted)
                if not part:
                    raise Interrupted(f"{body.host} closed the connection early")
                parts.append(part)
                wanted -= len(part)
            return b"".join(parts), body.total
