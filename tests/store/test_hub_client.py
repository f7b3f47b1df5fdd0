"""How the hub is asked, and what its answers become."""

import socket
from collections.abc import Iterator

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY

from mlm.errors import AuthError, MlmError, NetworkError, NotFoundError, UsageError
from mlm.store.hub import Hub
from mlm.store.refusal import GatedError, HubProtocolError
from mlm.store.wire import Timeouts, may_redirect

QUICK = Timeouts(connect_s=2, first_byte_s=0.3, stall_s=0.3, trickle_s=0.3, backoff_s=0.001)


def test_one_request_gives_commit_sizes_and_checksums(hub: FakeHub, tiny: File, client: Hub):
    hub.add(REPO, tiny, File("README.md", b"# hi", lfs=False), File("s.gguf", b"GGUF", lfs=False))
    repo = client.resolve(REPO)
    assert repo.commit == hub.repos[REPO].refs["main"]
    files = {file.filename: file for file in repo.files}
    assert set(files) == {NAME, "s.gguf"}, "models only"
    assert (files[NAME].size_bytes, files[NAME].sha256) == (len(TINY), tiny.sha256)
    assert files["s.gguf"].sha256 is None
    (request,) = hub.requests
    assert request.path == f"/api/models/{REPO}/revision/main?blobs=true"


def test_nothing_is_sent_that_was_not_asked_for(hub: FakeHub, tiny: File, client: Hub):
    client.resolve(REPO)
    (request,) = hub.requests
    assert set(request.headers) == {
        "host", "accept", "accept-encoding", "connection", "user-agent"
    }  # fmt: skip
    assert request.headers["accept-encoding"] == "identity"


def test_a_branch_with_a_slash_can_be_asked_for(hub: FakeHub, tiny: File, client: Hub):
    commit = hub.add(REPO, tiny, ref="refs/pr/1")
    assert client.resolve(REPO, "refs/pr/1").commit == commit
    assert "refs%2Fpr%2F1" in hub.requests[-1].path


def test_a_mirror_may_live_below_a_path(open_client: type[Hub]):
    with FakeHub(prefix="/hf/mirror") as hub:
        hub.add(REPO, File(NAME, TINY))
        client = open_client(f"{hub.endpoint}/", timeouts=QUICK)
        repo = client.resolve(REPO)
        with client.source(REPO, repo.commit, NAME).open() as body:
            assert body.total == len(TINY)


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (404, "RepoNotFound", NotFoundError, "has no repository org/x-GGUF"),
        (401, "RepoNotFound", NotFoundError, "no token is set"),
        (404, "RevisionNotFound", NotFoundError, "has no revision main"),
        (404, "", NotFoundError, "has nothing for org/x-GGUF"),
        (401, "", AuthError, "without a token"),
        (403, "", AuthError, "without a token"),
        (403, "GatedRepo", GatedError, "is gated"),
        (429, "", NetworkError, "429"),
        (500, "", NetworkError, "a problem of its own"),
        (503, "", NetworkError, "a problem of its own"),
        (418, "", HubProtocolError, "status 418"),
        (204, "", HubProtocolError, "not what was expected"),
    ],
)
def test_each_refusal_is_told_apart(
    hub: FakeHub, client: Hub, status: int, code: str, error: type[MlmError], words: str
):
    headers = {"X-Error-Code": code} if code else {}
    hub.breaks(where="api", status=status, headers=headers, body=b'{"error": "no"}')
    with pytest.raises(error, match=words) as failure:
        client.resolve("org/x-GGUF")
    assert failure.value.remedy


def test_a_short_outage_is_waited_for(hub: FakeHub, tiny: File, open_client: type[Hub]):
    waits: list[str] = []
    client = open_client(
        hub.endpoint, timeouts=QUICK, on_wait=lambda why, wait_s: waits.append(why)
    )
    hub.breaks(where="api", status=503, times=1)
    hub.breaks(where="api", drop_before_headers=True, times=1)
    assert client.resolve(REPO).repo_id == REPO
    assert len(waits) == 2


@pytest.mark.parametrize("dribble", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_never_comes_to_its_point_is_not_waited_for(
    hub: FakeHub, tiny: File, dribble: bytes, open_client: type[Hub]
):
    hub.breaks(where="api", dribble=dribble)
    with pytest.raises(NetworkError, match="no answer in time"):
        open_client(hub.endpoint, timeouts=QUICK.scaled(0.2)).resolve(REPO)


def test_a_gated_file_names_the_page_to_accept(hub: FakeHub, client: Hub, tiny: File):
    hub.repos[REPO].token, hub.repos[REPO].gated = "hf_x", True
    repo = client.resolve(REPO)
    with pytest.raises(GatedError) as failure:
        client.source(REPO, repo.commit, NAME).open()
    assert f"{hub.endpoint}/{REPO}" in str(failure.value.remedy)


def test_a_wrong_token_is_called_wrong(hub: FakeHub, tiny: File, open_client: type[Hub]):
    hub.repos[REPO].token = "hf_right"
    with pytest.raises(AuthError, match="the token is not valid"):
        open_client(hub.endpoint, "hf_wrong", timeouts=QUICK).resolve(REPO)


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: FakeHub, tiny: File, open_client: type[Hub]
):
    hub.repos[REPO].token = "hf_secret"
    client = open_client(hub.endpoint, "hf_secret", timeouts=QUICK)
    repo = client.resolve(REPO)
    with client.source(REPO, repo.commit, NAME).open() as body:
        assert body.read(4) == b"GGUF"
    told = {request.where for request in hub.requests if "authorization" in request.headers}
    assert told == {"api", "resolve"}
    assert "authorization" not in hub.asked("cdn")[0].headers


def test_no_error_shows_token_or_signature(hub: FakeHub, tiny: File, open_client: type[Hub]):
    client = open_client(hub.endpoint, "hf_secret", timeouts=QUICK)
    repo = client.resolve(REPO)
    for fault in ({"status": 403}, {"status": 500}, {"drop_before_headers": True}):
        hub.recovers()
        hub.breaks(**fault)
        with pytest.raises(MlmError) as failure:
            client.source(REPO, repo.commit, NAME).open()
        shown = f"{failure.value.message} {failure.value.remedy}"
        assert "secret" not in shown and "Signature" not in shown


def test_a_token_does_not_cross_the_network_in_the_clear(open_client: type[Hub]):
    with pytest.raises(AuthError, match="unencrypted"):
        open_client("http://mirror.example", "hf_secret")
    open_client("http://mirror.example")
    open_client("https://mirror.example", "hf_secret")


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "huggingface.co",
        "ftp://x",
        "file:///etc",
        "http://",
        "https://u:p@host",
        "http://h:99999",
    ],
)
def test_what_is_no_address_is_no_hub(endpoint: str, open_client: type[Hub]):
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        open_client(endpoint)


def test_offline_means_no_socket(monkeypatch: pytest.MonkeyPatch, open_client: type[Hub]):
    def refuse(*args: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    hub = open_client("https://hub.example", offline=True)
    with pytest.raises(NetworkError, match="offline"):
        hub.resolve(REPO)
    with pytest.raises(NetworkError, match="offline"):
        hub.source(REPO, "1" * 40, NAME)


def test_a_hub_that_is_down_is_named(open_client: type[Hub]):
    with pytest.raises(NetworkError, match=r"cannot reach 127\.0\.0\.1:9: connection refused"):
        open_client("http://127.0.0.1:9", timeouts=QUICK).resolve(REPO)


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://user:pw@{address}")
        monkeypatch.setenv("NO_PROXY", "elsewhere.example")
        yield address


@pytest.mark.parametrize("endpoint", ["http://hub.example", "https://hub.example"])
def test_a_dead_proxy_is_named(dead_proxy: str, endpoint: str, open_client: type[Hub]):
    hub = open_client(endpoint, timeouts=QUICK)
    with pytest.raises(NetworkError, match=f"through the proxy {dead_proxy}") as failure:
        hub.resolve(REPO)
    assert "pw" not in failure.value.message
    with pytest.raises(NetworkError, match=f"through the proxy {dead_proxy}"):
        hub.source(REPO, "1" * 40, NAME).open()


def test_a_proxy_that_lives_is_used_for_everything(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, open_client: type[Hub]
):
    commit = hub.add(REPO, File(NAME, TINY, lfs=False))
    monkeypatch.setenv("http_proxy", hub.endpoint.replace("//", "//user:pw@"))
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    client = open_client("http://hub.example", timeouts=QUICK)
    assert client.resolve(REPO).commit == commit
    with client.source(REPO, commit, NAME).open() as body:
        assert body.read(4) == b"GGUF"
    for request in hub.requests:
        assert request.path.startswith("http://hub.example/")
        assert request.headers["proxy-authorization"] == "Basic dXNlcjpwdw=="


def test_a_hub_inside_this_machine_needs_no_proxy(
    dead_proxy: str, hub: FakeHub, tiny: File, open_client: type[Hub]
):
    client = open_client(hub.endpoint, timeouts=QUICK, use_proxies=False)
    repo = client.resolve(REPO)
    with client.source(REPO, repo.commit, NAME).open() as body:
        assert body.read(4) == b"GGUF"


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ({"lfs": {"sha256": "../../x", "size": 5, "pointerSize": 1}}, "checksum"),
        ({"lfs": {"sha256": "F" * 64, "size": 5, "pointerSize": 1}}, "checksum"),
        ({"lfs": {"sha256": "0" * 64, "size": -1, "pointerSize": 1}}, "how large"),
        ({"lfs": {"sha256": "0" * 64, "size": "5", "pointerSize": 1}}, "how large"),
        ({"lfs": {"sha256": "0" * 64, "size": True, "pointerSize": 1}}, "how large"),
        ({"lfs": None, "size": None}, "how large"),
        ({"lfs": "text"}, "not what was expected"),
    ],
)
def test_a_listing_that_makes_no_sense_is_refused(
    hub: FakeHub, client: Hub, listed: dict[str, object], words: str
):
    hub.add(REPO, File(NAME, TINY, listed=listed))
    with pytest.raises(HubProtocolError, match=words):
        client.resolve(REPO)


@pytest.mark.parametrize("name", ["../x.gguf", "/x.gguf", "a\\b.gguf", "a/../../b.gguf", 5, None])
def test_a_hostile_file_name_is_not_even_listed(hub: FakeHub, client: Hub, name: object):
    hub.add(REPO, File(NAME, TINY), File("x.gguf", TINY, listed={"rfilename": name}))
    assert [file.filename for file in client.resolve(REPO).files] == [NAME]


@pytest.mark.parametrize("commit", ["../../etc", "main", "F" * 40, "", None, 5, "0" * 39])
def test_a_hostile_commit_is_refused(hub: FakeHub, client: Hub, tiny: File, commit: object):
    hub.repos[REPO].info["sha"] = commit
    with pytest.raises(HubProtocolError, match="commit"):
        client.resolve(REPO)


@pytest.mark.parametrize(
    "fault",
    [
        {"body": b"<html>login</html>"},
        {"body": b"[1, 2]"},
        {"body": b"null"},
        {"body": b"\xff\xfe"},
        {"body": b"[" * 100_000},
        {"compressed": True},
        {"body": b"[" + b" " * 17 * 2**20 + b"]"},
        {"body": b'{"id": 5, "siblings": 7, "sha": "x"}'},
        {"body": b'{"id": "x", "siblings": [{"size": 1}], "sha": "x"}'},
    ],
    ids=["page", "list", "null", "bytes", "depth", "gzip", "flood", "types", "nameless"],
)
def test_what_is_no_listing_is_refused(
    hub: FakeHub, client: Hub, tiny: File, fault: dict[str, object]
):
    hub.breaks(where="api", **fault)
    with pytest.raises(HubProtocolError) as failure:
        client.resolve(REPO)
    assert "mlm doctor" in str(failure.value.remedy)


@pytest.mark.parametrize("where", ["api", "resolve"])
@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "http://10.0.0.1/x",
        "//evil:x/",
        "http://[::1",
    ],
)
def test_redirects_lead_to_no_forbidden_place(
    hub: FakeHub, client: Hub, tiny: File, where: str, target: str
):
    hub.breaks(where=where, status=302, headers={"Location": target})
    with pytest.raises(NetworkError):
        if where == "api":
            client.resolve(REPO)
        else:
            client.source(REPO, "1" * 40, NAME).open()


@pytest.mark.parametrize("where", ["api", "resolve"])
def test_redirects_in_a_circle_end(hub: FakeHub, client: Hub, tiny: File, where: str):
    path = f"/api/models/{REPO}" if where == "api" else f"/{REPO}/resolve/main/{NAME}"
    hub.breaks(where=where, status=307, headers={"Location": path})
    with pytest.raises(HubProtocolError, match="redirects"):
        if where == "api":
            client.resolve(REPO)
        else:
            client.source(REPO, "1" * 40, NAME).open()
    assert len(hub.requests) == 11


@pytest.mark.parametrize(
    ("endpoint", "target", "allowed"),
    [
        ("https://hub", "https://cdn.example/x", True),
        ("https://hub", "http://cdn.example/x", False),
        ("https://hub", "http://hub/x", False),
        ("http://mirror", "ftp://mirror/x", False),
        ("http://mirror", "http://mirror.evil/x", False),
        ("http://mirror", "http://mirror:8080/x", True),
        ("http://mirror", "http://other/x", False),
        ("http://127.0.0.1:1", "http://localhost:2/x", True),
        ("http://127.0.0.1:1", "http://[::1]:2/x", True),
        ("http://mirror", "http://127.0.0.1/x", False),
        ("http://mirror", "https:///x", False),
        ("http://mirror", "http://mirror:nonsense/x", False),
    ],
)
def test_where_a_redirect_may_lead(endpoint: str, target: str, allowed: bool):
    assert may_redirect(endpoint, target) == allowed


def test_an_expired_link_is_renewed_once(hub: FakeHub, tiny: File, client: Hub):
    hub.link_uses = 1
    source = client.source(REPO, client.resolve(REPO).commit, NAME)
    for start in (0, 100, 200):
        with source.open(start) as body:
            assert body.start == start
    assert len(hub.asked("resolve")) == 3
    hub.link_uses = 0
    with pytest.raises(NetworkError, match="refuses it"):
        source.open()


def test_a_link_is_used_as_long_as_it_lives(hub: FakeHub, tiny: File, client: Hub):
    source = client.source(REPO, client.resolve(REPO).commit, NAME)
    for start in (0, 100, 200):
        with source.open(start):
            pass
    assert len(hub.asked("resolve")) == 1


def test_a_remote_file_can_be_read_in_pieces(hub: FakeHub, client: Hub):
    content = b"GGUF" + bytes(range(256)) * 8192  # two MiB
    commit = hub.add(REPO, File(NAME, content))
    remote = client.open_remote(REPO, commit, NAME)
    assert remote.size == len(content)
    assert remote.read(0, 10) == content[:10]
    assert remote.read(1_500_000, 1000) == content[1_500_000:1_501_000]
    assert remote.read(len(content) - 5, 100) == content[-5:]
    assert hub.requested_ranges[0] == "bytes=0-1048575"
    assert len(hub.requested_ranges) == 3


def test_a_server_without_ranges_cannot_be_read_in_pieces(hub: FakeHub, client: Hub):
    commit = hub.add(REPO, File(NAME, b"GGUF" + bytes(2**21)))
    remote = client.open_remote(REPO, commit, NAME)
    hub.breaks(ignore_range=True)
    with pytest.raises(HubProtocolError, match="part of a file"):
        remote.read(1_500_000, 10)


def test_a_repository_that_nobody_has_is_not_made_up(client: Hub):
    with pytest.raises(NotFoundError):
        client.resolve("org/none")
    with pytest.raises(UsageError):
        client.resolve("org/../etc")
    with pytest.raises(UsageError):
        client.resolve("org/none", "-x")
    with pytest.raises(UsageError):
        client.source("org/none", "main", NAME)
