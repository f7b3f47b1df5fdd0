"""What the honest hub and its CDN answer; the faults here are those of content, not of the wire."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fakes.hub.body import Body, InMemory, Made, OnDisk, Repeated
from fakes.hub.fault import Fault, Where
from fakes.hub.repo import File, Repo
from fakes.hub.sending import Answer

_API = re.compile(
    r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|paths-info|xet-read-token)/([^/]+))?(?:/(.*))?"
)
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_HOP = re.compile(r"[?&]hop=(\d+)$")
PAGE_SIZE = 1000  # entries of a tree in one answer


class Routes:
    """Answers by the repositories. ``sign`` makes the link to the bytes of a file."""

    def __init__(self, repos: dict[str, Repo], sign: Callable[[File], str]) -> None:
        self.page_size = PAGE_SIZE
        self._repos = repos
        self._sign = sign

    def describe(self, endpoint: str, target: str, form: str, headers: dict[str, str]) -> Answer:
        """Answer what is below ``/api/models/``; ``form`` is the body of a POST."""
        parts = urlsplit(target)
        if parts.path == "/api/models":
            return self._search(parse_qs(parts.query))
        match = _API.fullmatch(parts.path)
        repo = self._repos.get(match[1]) if match else None
        if match is None or repo is None:
            return _refuse(404, "RepoNotFound", "Repository not found")
        if refused := _check_token(repo, "api", headers):
            return refused
        commit = repo.find(unquote(match[3] or "main"))
        if commit is None:
            return _refuse(404, "RevisionNotFound", f"Invalid rev id: {match[3]}")
        query = {name: values[0].lower() for name, values in parse_qs(parts.query).items()}
        if match[2] == "tree":
            entries = repo.list_tree(
                commit, unquote(match[4] or ""), recursive=query.get("recursive") == "true"
            )
            return self._page(f"{endpoint}{parts.path}", query, entries)
        if match[2] == "paths-info":
            wanted = parse_qs(form).get("paths", [])
            files = repo.commits[commit]
            return _json([files[path].tree_entry() for path in wanted if path in files])
        if match[2] == "xet-read-token":
            return _grant_xet(endpoint)
        return _json(repo.describe(commit, with_blobs=query.get("blobs") == "true"))

    def resolve(self, endpoint: str, target: str, headers: dict[str, str], fault: Fault) -> Answer:
        """Answer ``/{repo}/resolve/{revision}/{path}``: with a small file, or where it is."""
        match = _RESOLVE.fullmatch(urlsplit(target).path)
        repo = self._repos.get(match[1]) if match else None
        if match is None or repo is None:
            return _refuse(404, "RepoNotFound", "Repository not found")
        if refused := _check_token(repo, "resolve", headers):
            return refused
        commit = repo.find(unquote(match[2]))
        if commit is None:
            return _refuse(404, "RevisionNotFound", "Invalid rev id")
        file = repo.commits[commit].get(unquote(match[3]))
        about = {"X-Repo-Commit": commit}
        if file is None:
            return _refuse(404, "EntryNotFound", "Entry not found", about)
        if not file.lfs:
            return whole_or_part(file, headers, fault, about)
        if file.xet_hash:
            route = f"{endpoint}/api/models/{match[1]}/xet-read-token/{commit}"
            about |= {"X-Xet-Hash": file.xet_hash, "Link": f'<{route}>; rel="xet-auth"'}
        about |= {
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(file.size),
            "ETag": f'"{file.git_oid}"',
            "Accept-Ranges": "bytes",
            "Location": self._sign(file),
        }
        return Answer(302, about)

    def _search(self, query: dict[str, list[str]]) -> Answer:
        """Answer a search: repositories with all its words in their name, most downloads first."""
        words = query.get("search", [""])[0].lower().split()
        found = [
            repo.summarize()
            for name, repo in self._repos.items()
            if repo.token is None and all(word in name.lower() for word in words)
        ]
        wanted = query.get("filter", [])
        found = [repo for repo in found if set(wanted) <= set(repo["tags"])]
        found.sort(key=lambda repo: -repo["downloads"])
        return _json(found[: int(query.get("limit", ["1000"])[0])])

    def _page(self, url: str, query: dict[str, str], entries: list[dict[str, Any]]) -> Answer:
        start = int(query.get("cursor", "0"))
        stop = start + self.page_size
        answer = _json(entries[start:stop])
        if stop < len(entries):
            others = [f"{name}={value}" for name, value in query.items() if name != "cursor"]
            following = "&".join([*others, f"cursor={stop}"])
            answer.headers["Link"] = f'<{url}?{following}>; rel="next"'
        return answer


def whole_or_part(
    file: File, headers: dict[str, str], fault: Fault, about: dict[str, str]
) -> Answer:
    """Answer with the bytes of a file, as far as they were asked for."""
    seen, size = _seen(file, fault)
    etag = fault.headers.get("ETag", f'"{file.etag}"')
    about = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"} | about
    about["ETag"] = etag
    match = _RANGE.fullmatch(headers.get("range", ""))
    unchanged = fault.ignore_if_range or headers.get("if-range", etag) == etag
    if match is None or fault.ignore_range or not unchanged:
        if not fault.partial_for_whole:
            return Answer(200, about, seen(0, size))
        match = _RANGE.fullmatch("bytes=0-")
        assert match
    first, last = int(match[1]), min(int(match[2] or size), size - 1)
    if first >= size:
        return Answer(416, about | {"Content-Range": f"bytes */{size}"})
    about["Content-Range"] = fault.content_range or f"bytes {first}-{last}/{size}"
    return Answer(206, about, seen(first, last + 1), first)


def _seen(file: File, fault: Fault) -> tuple[Callable[[int, int], Body], int]:
    """Return what gives any part of the file as the fault has it, and the size of the whole.

    A corrupted file is held in memory, an honest large one is not.
    """
    content = file.content
    if not isinstance(content, bytes):
        if not fault.corrupts:
            return lambda start, stop: OnDisk(content, start, stop - start), file.size
        content = content.read_bytes()
    shown = memoryview(fault.corrupt(content) if fault.corrupts else content)
    return lambda start, stop: InMemory(shown[start:stop]), len(shown)


def misstate(answer: Answer, fault: Fault) -> None:
    """Replace what an answer says by what the fault says."""
    if fault.body is not None:
        answer.body = (
            Repeated(fault.body, fault.repeat) if fault.repeat > 1 else InMemory(fault.body)
        )
    if fault.entries is not None:
        count = fault.entries
        answer.body = Made(lambda: _list_many(count))


def hop(target: str, fault: Fault) -> tuple[str, Answer | None]:
    """Return the target without what a redirect has added to it, and the next redirect if due."""
    match = _HOP.search(target)
    done = int(match[1]) if match else 0
    plain = target[: match.start()] if match else target
    if done >= fault.hops:
        return plain, None
    link = f"{plain}{'&' if '?' in plain else '?'}hop={done + 1}"
    return plain, Answer(307, {"Location": link})


def _list_many(count: int) -> Iterator[bytes]:
    """Yield a listing of so many models, made as it is sent."""
    yield b'{"id": "org/many", "sha": "%s", "siblings": [' % (b"1" * 40)
    for start in range(0, count, 1000):
        entries = [
            {
                "rfilename": f"model-{number:07}.gguf",
                "size": 4096,
                "lfs": {"sha256": f"{number:064x}", "size": 4096, "pointerSize": 135},
            }
            for number in range(start, min(start + 1000, count))
        ]
        text = json.dumps(entries)[1:-1]
        yield (text if start == 0 else f", {text}").encode()
    yield b"]}"


def _grant_xet(endpoint: str) -> Answer:
    expires, key = int(time.time()) + 3600, "xet-token"
    answer = _json({"casUrl": endpoint, "accessToken": key, "exp": expires})
    answer.headers |= {
        "X-Xet-Cas-Url": endpoint,
        "X-Xet-Access-Token": key,
        "X-Xet-Token-Expiration": str(expires),
    }
    return answer


def _check_token(repo: Repo, where: Where, headers: dict[str, str]) -> Answer | None:
    """Return the refusal for who may not see the repository. A gated one may still be described."""
    if repo.token is None or headers.get("authorization") == f"Bearer {repo.token}":
        return None
    if "authorization" in headers:
        return _refuse(401, "", "Invalid credentials in Authorization header")
    if repo.gated:
        return _refuse(401, "GatedRepo", "Access is restricted") if where == "resolve" else None
    return _refuse(401, "RepoNotFound", "Repository not found")


def _json(document: object) -> Answer:
    body = InMemory(json.dumps(document).encode())
    return Answer(200, {"Content-Type": "application/json"}, body)


def _refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    about = {"X-Error-Message": message} | (headers or {})
    if code:
        about["X-Error-Code"] = code
    return Answer(status, about, InMemory(json.dumps({"error": message}).encode()))
