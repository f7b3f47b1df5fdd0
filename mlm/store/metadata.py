"""The metadata calls: repository and revision to commit, files, sizes and checksums; and search.

Headers and errors are huggingface_hub's; the client has our limits: how much JSON, how long, how
many redirects and to where. Its `HfApi` would cost another 100 ms of import for this
one request. What is left costs 200 ms, so it is imported only when a hub is really asked.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import mlm
from mlm.errors import MlmError, NetworkError
from mlm.store.names import is_commit, is_filename, is_repo_id, is_sha256
from mlm.store.proxy import find_proxy
from mlm.store.refusal import Asked, HubProtocolError, explain_refusal
from mlm.store.types import RemoteFile, RepoFiles, RepoSummary
from mlm.store.wire import (
    Interrupted,
    Wire,
    describe_failure,
    host_of,
    may_redirect,
    origin,
    trusted_tls,
    unreachable,
)
from mlm.units import MIB, format_size

if TYPE_CHECKING:
    import httpx2

MAX_LISTING_BYTES = 16 * MIB  # a real listing of a thousand files has 0.5 MiB
MAX_REDIRECTS = 10
_MAX_TAGS = 200
_TAG = re.compile(r"[\w:./+-]{1,200}", re.ASCII)
_T = TypeVar("_T")
_LISTING_TIME_FACTOR = 4  # times the stall limit: the longest a whole listing may take


def fetch_listing(asked: Asked, token: str | None, wire: Wire) -> RepoFiles:
    """Return the GGUF files of a repository at a revision.

    Raises:
        NotFoundError, AuthError: the hub says so.
        Interrupted: it did not answer, or asks to come back later.
        NetworkError: what answered is not a hub.
    """
    path = f"{asked.repo_id}/revision/{quote(asked.revision, safe='')}"
    question = _Question(asked, f"/api/models/{path}", {"blobs": "true"})
    return _fetch(question, _read_listing, token, wire)


def fetch_matches(
    asked: Asked, text: str, limit: int, token: str | None, wire: Wire
) -> list[RepoSummary]:
    """Return the repositories with GGUF files that the hub finds for ``text``, its order.

    Raises: as `fetch_listing`.
    """
    wanted = {"search": text, "filter": "gguf", "sort": "downloads", "limit": str(limit)}
    question = _Question(asked, "/api/models", wanted)
    return _fetch(question, _read_matches, token, wire)[:limit]


@dataclass(frozen=True, slots=True)
class _Question:
    """One GET to the hub's API; ``asked`` says in errors what it was for."""

    asked: Asked
    path: str
    params: dict[str, str]


def _fetch(
    question: _Question, read: Callable[[Asked, Any], _T], token: str | None, wire: Wire
) -> _T:
    """Return what ``read`` makes of the answer."""
    os.environ["HF_HUB_DISABLE_XET"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # The client's own timeouts begin anew with each byte, so a thread is waited for instead.
    times = wire.timeouts
    answer: Future[_T] = Future()

    def ask() -> None:
        try:
            answer.set_result(_ask(question, read, token, wire))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="listing", daemon=True).start()
    limit_s = times.connect_s + times.first_byte_s + _LISTING_TIME_FACTOR * times.stall_s
    try:
        return answer.result(limit_s)
    except TimeoutError:
        raise _no_answer(question.asked.endpoint, wire) from None


def _ask(
    question: _Question, read: Callable[[Asked, Any], _T], token: str | None, wire: Wire
) -> _T:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    asked = question.asked
    try:
        with _limited_client(asked.endpoint, wire) as client:
            response = client.get(
                f"{asked.endpoint}{question.path}",
                params=question.params,
                headers=_headers(token),
                timeout=wire.timeouts.first_byte_s,
            )
            hf_raise_for_status(response)
            return read(asked, response.json())
    except HfHubHTTPError as error:
        raise explain_refusal(error.response.status_code, error.response.headers, asked) from error
    except httpx2.TooManyRedirects as error:
        raise HubProtocolError(asked.endpoint, "it redirects in circles") from error
    except httpx2.HTTPError as error:
        raise _transport_error(asked.endpoint, error, wire) from error
    except MlmError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HubProtocolError(asked.endpoint, "its listing is not what was expected") from error


def _headers(token: str | None) -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers: dict[str, str] = build_hf_headers(
        token=token or False,  # False: none at all; None would look for one of its own
        library_name="mlm",
        library_version=mlm.__version__,
        headers={"Accept-Encoding": "identity"},
    )
    return headers


def _limited_client(endpoint: str, wire: Wire) -> "httpx2.Client":
    import httpx2

    def check_target(request: httpx2.Request) -> None:
        url = str(request.url)
        if origin(url) != origin(endpoint) and not may_redirect(endpoint, url):
            raise HubProtocolError(endpoint, "it redirects to a place it must not")

    def limit_body(response: httpx2.Response) -> None:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HubProtocolError(endpoint, "it sends compressed data that nobody asked for")
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _limited_stream(response.stream, endpoint, wire.timeouts.stall_s)

    return httpx2.Client(
        event_hooks={"request": [check_target], "response": [limit_body]},
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        verify=trusted_tls(),
        trust_env=wire.use_proxies,
    )


def _limited_stream(
    stream: "httpx2.SyncByteStream", endpoint: str, stall_s: float
) -> "httpx2.SyncByteStream":
    import httpx2

    class Limited(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            received, deadline = 0, time.monotonic() + _LISTING_TIME_FACTOR * stall_s
            for chunk in stream:
                received += len(chunk)
                if received > MAX_LISTING_BYTES:
                    limit = format_size(MAX_LISTING_BYTES)
                    raise HubProtocolError(endpoint, f"its listing is larger than {limit}")
                if time.monotonic() > deadline:
                    raise HubProtocolError(endpoint, "its listing never ends")
                yield chunk

        def close(self) -> None:
            stream.close()

    return Limited()


def _transport_error(endpoint: str, error: "httpx2.HTTPError", wire: Wire) -> NetworkError:
    import httpx2

    why = describe_failure(_root_of(error))
    if isinstance(error, httpx2.TimeoutException):
        return _no_answer(endpoint, wire)
    if isinstance(error, httpx2.ConnectError | httpx2.ProxyError):
        return unreachable(endpoint, _proxy_to(endpoint, wire), why)
    return Interrupted(f"the connection to {host_of(endpoint)} broke: {why}")


def _no_answer(endpoint: str, wire: Wire) -> NetworkError:
    return unreachable(endpoint, _proxy_to(endpoint, wire), "no answer in time")


def _proxy_to(endpoint: str, wire: Wire) -> str | None:
    return find_proxy(endpoint) if wire.use_proxies else None


def _root_of(error: BaseException) -> BaseException:
    """Return the failure of the operating system that ``error`` wraps, else ``error`` itself."""
    inner = error.__cause__ or error.__context__
    return _root_of(inner) if inner is not None else error


def _read_listing(asked: Asked, listing: dict[str, Any]) -> RepoFiles:
    """Return what can be trusted of a listing: files with a safe name and a size."""
    commit = listing["sha"]
    if not is_commit(commit):
        raise HubProtocolError(asked.endpoint, "it names no commit")
    files = [_read_file(asked, sibling) for sibling in listing.get("siblings") or ()]
    found = tuple(file for file in files if file)
    return RepoFiles(asked.repo_id, commit, found, _read_tags(listing), _read_gated(listing))


def _read_tags(listing: dict[str, Any]) -> tuple[str, ...]:
    """Return the tags that are short and plain; what else a tag could be is of no use."""
    tags = listing.get("tags") or ()
    return tuple(t for t in tags[:_MAX_TAGS] if isinstance(t, str) and _TAG.fullmatch(t))


def _read_gated(listing: dict[str, Any]) -> bool | None:
    gated = listing.get("gated")
    return bool(gated) if isinstance(gated, bool | str) else None


def _read_matches(asked: Asked, listing: Any) -> list[RepoSummary]:
    """Return what can be trusted of a list of repositories."""
    if not isinstance(listing, list):
        raise HubProtocolError(asked.endpoint, "it does not answer a search with a list")
    return [
        RepoSummary(
            repo["id"],
            _read_tags(repo),
            _read_gated(repo),
            _read_count(repo, "downloads"),
            _read_count(repo, "likes"),
        )
        for repo in listing
        if isinstance(repo["id"], str) and is_repo_id(repo["id"])
    ]


def _read_count(repo: dict[str, Any], name: str) -> int | None:
    count = repo.get(name)
    is_count = isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**63
    return count if is_count else None


def _read_file(asked: Asked, sibling: dict[str, Any]) -> RemoteFile | None:
    name = sibling["rfilename"]
    if not is_filename(name) or not name.lower().endswith(".gguf"):
        return None
    lfs = sibling.get("lfs") or {}
    sha256, size = lfs.get("sha256"), lfs.get("size", sibling.get("size"))
    if sha256 is not None and not is_sha256(sha256):
        raise HubProtocolError(asked.endpoint, f"the checksum of {name} is none")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise HubProtocolError(asked.endpoint, f"it does not say how large {name} is")
    git_oid = sibling.get("blobId")
    return RemoteFile(name, size, sha256, git_oid if is_commit(git_oid) else None)
