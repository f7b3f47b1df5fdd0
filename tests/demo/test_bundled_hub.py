"""The hub inside mlm is one that a foreign client understands, and it leaves nothing behind."""

import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mlm.demo.hub import DEMO_FILE, DEMO_FILENAME, DEMO_REPO_ID, serve_bundled_hub

CONTENT = DEMO_FILE.read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RESOLVE = f"/{DEMO_REPO_ID}/resolve/main/{DEMO_FILENAME}"


@pytest.fixture
def hub() -> Iterator[http.client.HTTPConnection]:
    with serve_bundled_hub() as endpoint:
        connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
        yield connection
        connection.close()


def ask(
    hub: http.client.HTTPConnection, target: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    hub.request(method, target, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = hub.getresponse()
    return response.status, dict(response.headers), response.read()


def test_huggingface_hub_finds_and_downloads_the_demo_model(tmp_path: Path):
    script = (
        "from huggingface_hub import HfApi, hf_hub_download;"
        f"info = HfApi().model_info('{DEMO_REPO_ID}', files_metadata=True);"
        "print(info.sha, info.siblings[0].lfs.sha256, info.siblings[0].size);"
        f"print(hf_hub_download('{DEMO_REPO_ID}', '{DEMO_FILENAME}'));"
        f"print(*(f.path for f in HfApi().list_repo_tree('{DEMO_REPO_ID}')))"
    )
    with serve_bundled_hub() as endpoint:
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment
        )
    assert done.returncode == 0, done.stderr
    described, path, listed = done.stdout.splitlines()
    assert described.split()[1:] == [SHA256, str(len(CONTENT))]
    assert Path(path).read_bytes() == CONTENT
    assert listed == DEMO_FILENAME


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, len(CONTENT) - 1),
        ("bytes=1000-", 1000, len(CONTENT) - 1),
        ("bytes=7-9", 7, 9),
        ("bytes=7-99999999", 7, len(CONTENT) - 1),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT) - 1),
    ],
)
def test_a_range_is_answered_with_exactly_these_bytes(hub, asked: str, first: int, last: int):
    status, headers, body = ask(hub, RESOLVE, Range=asked)
    assert status == 206
    assert headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert body == CONTENT[first : last + 1]


def test_a_range_beyond_the_end_is_refused_with_the_size(hub):
    status, headers, body = ask(hub, RESOLVE, Range=f"bytes={len(CONTENT)}-")
    assert (status, headers["Content-Range"], body) == (416, f"bytes */{len(CONTENT)}", b"")


def test_if_range_with_another_etag_gets_the_whole_file(hub):
    assert ask(hub, RESOLVE, Range="bytes=5-", If_Range='"other"')[0] == 200
    assert ask(hub, RESOLVE, Range="bytes=5-", If_Range=f'"{SHA256}"')[0] == 206


def test_head_promises_what_get_delivers(hub):
    status, headers, body = ask(hub, RESOLVE, "HEAD")
    assert (status, body) == (200, b"")
    assert headers["X-Linked-Etag"].strip('"') == SHA256
    assert int(headers["X-Linked-Size"]) == int(headers["Content-Length"]) == len(CONTENT)
    commit = headers["X-Repo-Commit"]
    assert ask(hub, RESOLVE.replace("/main/", f"/{commit}/"))[2] == CONTENT


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/api/models/nobody/nothing", "RepoNotFound"),
        (f"/api/models/{DEMO_REPO_ID}/revision/v9", "RevisionNotFound"),
        (RESOLVE.replace("main", "v9"), "RevisionNotFound"),
        (RESOLVE + ".txt", "EntryNotFound"),
        ("/../../etc/passwd", "RepoNotFound"),
    ],
)
def test_what_is_not_there_is_named(hub, target: str, code: str):
    status, headers, body = ask(hub, target)
    assert (status, headers["X-Error-Code"]) == (404, code)
    assert json.loads(body)["error"]


def test_the_hub_leaves_no_thread_and_no_port_even_when_a_client_stays_connected():
    before = set(threading.enumerate())
    with serve_bundled_hub() as endpoint:
        address = urlsplit(endpoint).hostname, urlsplit(endpoint).port
        idle = socket.create_connection(address)
        used = http.client.HTTPConnection(*address)
        assert ask(used, RESOLVE, "HEAD")[0] == 200
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    idle.close()
    used.close()
