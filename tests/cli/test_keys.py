"""``mlm keys``: making, listing and revoking them, beside a server that runs."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fakes.fake_server import FakeServer, serving
from fakes.mlm_serve import DEMO_MODEL

from mlm.errors import ExitCode
from mlm.server.keys_file import MAX_CONCURRENT, MAX_REQUESTS_PER_MINUTE

CLOSE = "Connection: close\r\n"


def test_a_key_is_shown_once(mlm, home: Path):
    result = mlm("keys", "add", "alice")
    assert result.exit_code == ExitCode.OK
    (secret,) = result.stdout.splitlines()
    assert secret.startswith("mlm_")
    assert "keep it now" in result.stderr
    listed = mlm("keys", "list").stdout
    assert "alice" in listed
    assert secret[:12] in listed
    assert secret not in listed
    assert secret not in (home / "keys.json").read_text()


def test_a_key_is_one_word_on_the_narrowest_terminal(mlm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert len(mlm("keys", "add", "alice").stdout.split()) == 1


def test_the_documents_have_everything_but_digests(mlm, home: Path):
    words = ("--admin", "--requests-per-minute", "60", "--concurrent", "4", "--json")
    added = mlm("keys", "add", "root", *words).json
    assert added["schema"] == "mlm.keys.add/1"
    assert added["key"].startswith(added["prefix"])
    listed = mlm("keys", "list", "--json").json
    (row,) = listed["keys"]
    assert row == {name: added[name] for name in row}
    assert (row["scope"], row["requests_per_minute"], row["concurrent"]) == ("admin", 60, 4)
    digest = json.loads((home / "keys.json").read_text())["keys"][0]["sha256"]
    assert digest not in json.dumps([added, listed])
    revoked = mlm("keys", "revoke", "root", "--json").json
    assert (revoked["name"], revoked["left"]) == ("root", 0)


def test_without_keys_the_list_says_what_that_means(mlm, home: Path):
    assert "servers ask for none" in mlm("keys", "list").stdout
    assert not home.exists()
    mlm("keys", "add", "alice")
    last = mlm("keys", "revoke", "alice")
    assert f"rm {home / 'keys.json'}" in last.stderr
    assert "servers answer nobody" in mlm("keys", "list").stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("add", "a b"), ExitCode.USAGE),
        (("add", "alice", "--concurrent", "0"), ExitCode.USAGE),
        (("add", "alice", "--requests-per-minute", "-1"), ExitCode.USAGE),
        (("add", "taken"), ExitCode.CONFLICT),
        (("revoke", "bob"), ExitCode.NOT_FOUND),
    ],
)
def test_what_makes_no_sense_is_refused(mlm, words: tuple[str, ...], code: ExitCode):
    mlm("keys", "add", "taken")
    result = mlm("keys", *words)
    assert result.exit_code == code
    assert result.stdout == ""
    assert "hint:" in result.stderr


@pytest.mark.parametrize("command", [("list",), ("add", "bob"), ("revoke", "alice")])
def test_a_damaged_file_is_an_error_everywhere(mlm, home: Path, command: tuple[str, ...]):
    home.mkdir()
    (home / "keys.json").write_text("{")
    result = mlm("keys", *command)
    assert result.exit_code == ExitCode.USAGE
    assert "damaged" in result.stderr
    assert (home / "keys.json").read_text() == "{"


@pytest.mark.parametrize("content", ["{", '{"schema": "mlm.keys-file/1", "keys": []}'])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_no_server_starts_with_keys_that_are_damaged_or_all_revoked(
    mlm, home: Path, content: str, host: str
):
    home.mkdir()
    (home / "keys.json").write_text(content)
    (home / "keys.json").chmod(0o600)
    result = mlm("serve", DEMO_MODEL, "--host", host, "--port", "0")
    assert result.exit_code == ExitCode.USAGE
    assert f"rm {home / 'keys.json'}" in result.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    """A server that runs on the home in ``tmp_path / "home"``."""
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        yield server


def status(server: FakeServer, secret: str, path: str = "/v1/models") -> int:
    return server.ask("GET", path, None, {"Authorization": f"Bearer {secret}"}).status


def test_a_running_server_takes_and_drops_keys_at_once(mlm, tmp_path: Path, server: FakeServer):
    keys = ("--home", tmp_path / "home", "keys")
    assert status(server, "nothing") == 200
    alice = mlm(*keys, "add", "alice").stdout.strip()
    root = mlm(*keys, "add", "root", "--admin").stdout.strip()
    assert [status(server, key) for key in ("nothing", alice, root)] == [401, 200, 200]
    assert [status(server, key, "/admin/stats") for key in (alice, root)] == [403, 200]
    mlm(*keys, "revoke", "alice")
    assert [status(server, key) for key in (alice, root)] == [401, 200]
    mlm(*keys, "revoke", "root")
    assert [status(server, key) for key in ("nothing", alice, root)] == [401, 401, 401]


def test_commands_of_the_same_user_need_no_key(
    mlm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: FakeServer
):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    home = tmp_path / "home"
    mlm("--home", home, "keys", "add", "alice")
    asked = mlm("--home", home, "run", "alpha", "n=3")
    assert asked.exit_code == ExitCode.OK, asked.stderr
    assert asked.stdout.split() == ["t0", "t1", "t2"]
    (own,) = (home / "run").glob("*.key")
    assert own.stat().st_mode & 0o777 == 0o600
    server.stop()
    assert list((home / "run").iterdir()) == []


def test_no_key_is_ever_written_down(mlm, tmp_path: Path):
    """In no log, event, error or file, and in the environment and words of no process."""
    (tmp_path / "lines").write_text("canary-on-a-line\n")
    keys = ("--home", tmp_path / "home", "keys")
    canary = mlm(*keys, "add", "alice", "--requests-per-minute", "4").stdout.strip()
    root = mlm(*keys, "add", "root", "--admin").stdout.strip()
    wrong = "canary-that-is-wrong"
    with serving(tmp_path / "server", key_file=str(tmp_path / "lines")) as server:
        home = tmp_path / "server" / "home"
        (tmp_path / "home" / "keys.json").replace(home / "keys.json")
        server.wait_for("Loaded")
        for secret in (canary, root, wrong, "canary-on-a-line"):
            for sent in ({"Authorization": f"Bearer {secret}"}, {"X-Api-Key": secret}):
                server.ask("GET", f"/v1/models/{'x' * 300}", None, sent)
                body = {"model": "alpha", "prompt": "die=SIGSEGV", "temperature": 0}
                server.ask("POST", "/v1/completions", body, sent)
            server.ask("POST", "/admin/session", {"key": secret})
            server.raw(
                f"GET /{secret} HTTP/1.1\r\nHost: a\r\nHost: {secret}\r\n{CLOSE}\r\n".encode()
            )
            server.raw(f"\x00{secret}\r\n\r\n".encode())
        processes = [psutil.Process(server.process.pid)]
        processes += processes[0].children(recursive=True)
        told = [server.log, json.dumps(server.events)]
        for process in processes:
            told += [*process.cmdline(), *process.environ().values()]
        server.stop()
    told += [p.read_text("latin-1") for p in home.rglob("*") if p.is_file()]
    for secret in (canary, root, wrong, "canary-on-a-line"):
        assert not [text for text in told if secret in text]


@pytest.mark.parametrize(
    ("option", "most"),
    [("--requests-per-minute", MAX_REQUESTS_PER_MINUTE), ("--concurrent", MAX_CONCURRENT)],
)
def test_a_limit_may_be_as_high_as_the_file_can_hold_and_no_higher(mlm, option: str, most: int):
    assert mlm("keys", "add", "highest", option, str(most)).exit_code == ExitCode.OK
    assert mlm("keys", "list").exit_code == ExitCode.OK
    assert mlm("keys", "add", "higher", option, str(most + 1)).exit_code == ExitCode.USAGE
