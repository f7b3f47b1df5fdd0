"""The file of keys: what is written, what is believed, what becomes of it while a server runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlm.errors import ConflictError, NotFoundError, UsageError
from mlm.server.keys import Keys
from mlm.server.keys_file import (
    Key,
    add_key,
    digest_of,
    new_key,
    read_keys,
    read_plain_keys,
    revoke_key,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


def made(path: Path, name: str, scope: str = "user", **limits: int) -> str:
    """Make a key and return it."""
    key, secret = new_key(name, scope, **limits)  # type: ignore[arg-type]
    add_key(path, key)
    return secret


def test_a_key_is_kept_as_its_digest_for_its_owner_only(path: Path):
    secret = made(path, "alice", "admin", requests_per_minute=60, concurrent=4)
    (key,) = read_keys(path) or ()
    assert (key.name, key.scope, key.requests_per_minute, key.concurrent) == (
        "alice",
        "admin",
        60,
        4,
    )
    assert secret.startswith(key.prefix)
    assert len(secret) > len(key.prefix) + 30
    assert key.sha256 == digest_of(secret.encode())
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.read_text()


def test_no_two_keys_are_the_same():
    assert len({new_key("alice", "user")[1] for _ in range(100)}) == 100


def test_a_name_is_taken_once_and_free_again_when_revoked(path: Path):
    first = made(path, "alice")
    with pytest.raises(ConflictError):
        made(path, "alice")
    revoke_key(path, "alice")
    assert made(path, "alice") != first


@pytest.mark.parametrize(
    "name",
    ["", " ", "-x", ".", "a b", "a\n", "a/b", "ä", "a" * 65, "\u202eecila", "a\x00", "$(id)"],
)
def test_what_cannot_be_a_name_is_refused(name: str):
    with pytest.raises(UsageError):
        new_key(name, "user")


def test_a_revoked_key_is_gone_and_the_others_stay(path: Path):
    secrets = {name: made(path, name) for name in ("alice", "bob", "carol")}
    assert [key.name for key in revoke_key(path, "bob")] == ["alice", "carol"]
    keys = Keys(path)
    found = [name for name, secret in secrets.items() if keys.find(secret.encode())]
    assert found == ["alice", "carol"]
    with pytest.raises(NotFoundError):
        revoke_key(path, "bob")


ADD_FIVE = """
import sys
from pathlib import Path
from mlm.server.keys_file import add_key, new_key
for number in range(5):
    add_key(Path(sys.argv[1]), new_key(f"{sys.argv[2]}-{number}", "user")[0])
"""


def test_eight_processes_add_at_once_and_none_loses_a_key(path: Path):
    command = [sys.executable, "-c", ADD_FIVE, str(path)]
    adding = [subprocess.Popen([*command, f"process{i}"]) for i in range(8)]
    assert [process.wait(60) for process in adding] == [0] * 8
    names = {key.name for key in read_keys(path) or ()}
    assert names == {f"process{i}-{number}" for i in range(8) for number in range(5)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == ["keys.json", "keys.lock"]


ONE = {
    "name": "alice",
    "scope": "user",
    "prefix": "mlm_12345678",
    "sha256": "0" * 64,
    "created_at": 1.5,
    "requests_per_minute": None,
    "concurrent": None,
}
DAMAGED = {
    "empty": b"",
    "half": b'{"schema": "mlm.keys-file/1", "keys": [{"name": "al',
    "null": b"null",
    "list": b"[]",
    "no keys": b'{"schema": "mlm.keys-file/1"}',
    "not utf-8": b'{"schema": "mlm.keys-file/1", "keys": [{"name": "\xff"}]}',
    "another schema": json.dumps({"schema": "mlm.keys-file/2", "keys": [ONE]}).encode(),
    "more in the document": json.dumps(
        {"schema": "mlm.keys-file/1", "keys": [ONE], "more": 1}
    ).encode(),
}
WRONG_FIELDS = [
    {"name": "a\nb"},
    {"name": 1},
    {"scope": "root"},
    {"scope": None},
    {"sha256": "0" * 63},
    {"sha256": "0" * 64 + "\n"},
    {"sha256": "G" * 64},
    {"created_at": "today"},
    {"created_at": -1},
    {"created_at": 1e300},
    {"requests_per_minute": 0},
    {"requests_per_minute": True},
    {"concurrent": -1},
    {"concurrent": 1e9},
    {"models": ["tiny"]},  # a limit of a later version must not be passed over
]
DAMAGED |= {
    f"{wrong}": json.dumps({"schema": "mlm.keys-file/1", "keys": [ONE | wrong]}).encode()
    for wrong in WRONG_FIELDS
}
DAMAGED |= {
    f"twice, but for {other}": json.dumps(
        {"schema": "mlm.keys-file/1", "keys": [ONE, ONE | other]}
    ).encode()
    for other in ({}, {"name": "bob"}, {"sha256": "1" * 64})
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_an_error_and_is_left_as_it_is(path: Path, name: str):
    path.parent.mkdir()
    path.write_bytes(DAMAGED[name])
    path.chmod(0o600)
    for use in (
        lambda: read_keys(path),
        lambda: Keys.open(path, None),
        lambda: made(path, "carol"),
        lambda: revoke_key(path, "alice"),
    ):
        with pytest.raises(UsageError) as caught:
            use()
        assert str(path) in caught.value.message
        assert caught.value.remedy
    assert path.read_bytes() == DAMAGED[name]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_believed(path: Path, mode: int):
    made(path, "alice")
    path.chmod(mode)
    with pytest.raises(UsageError, match="others may write") as caught:
        read_keys(path)
    assert caught.value.remedy == f"chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_an_error(path: Path):
    made(path, "alice")
    path.chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        read_keys(path)


def test_a_home_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot be written"):
        made(tmp_path / "home" / "keys.json", "alice")


def test_no_file_means_that_no_key_is_asked_for(path: Path):
    assert read_keys(path) is None
    assert not Keys.open(path, None).required


def test_a_server_does_not_start_when_all_keys_were_revoked(path: Path, tmp_path: Path):
    made(path, "alice")
    revoke_key(path, "alice")
    with pytest.raises(UsageError, match="were revoked") as caught:
        Keys.open(path, None)
    assert str(path) in str(caught.value.remedy)
    (tmp_path / "lines").write_text("a-good-long-key")
    assert Keys.open(path, tmp_path / "lines").find(b"a-good-long-key")


def test_what_is_written_counts_at_once(path: Path):
    alice = made(path, "alice")
    keys = Keys(path)
    bob = made(path, "bob")
    keys.follow()
    assert keys.find(bob.encode())
    revoke_key(path, "alice")
    keys.follow()
    assert keys.find(alice.encode()) is None
    assert keys.find(bob.encode())


def test_a_file_that_is_damaged_meanwhile_changes_nothing_but_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
):
    alice = made(path, "alice")
    keys = Keys(path)
    text = path.read_text()
    path.write_text(text[:-20])
    for _ in range(3):
        keys.follow()
    assert keys.find(alice.encode())
    assert len(caplog.records) == 1
    with pytest.raises(UsageError):
        keys.reload()
    assert keys.find(alice.encode())
    path.write_text(text.replace("alice", "alicia"))
    keys.follow()
    assert [key.name for key in keys.known] == ["alicia"]


def test_a_file_that_has_gone_holds_no_keys_but_one_is_still_asked_for(path: Path):
    alice = made(path, "alice")
    keys = Keys(path)
    path.unlink()
    keys.follow()
    assert keys.required
    assert keys.find(alice.encode()) is None


def test_a_servers_own_key_outlives_changes_of_the_file(path: Path):
    keys = Keys(path)
    own = keys.add_own()
    assert not keys.required
    made(path, "alice")
    keys.follow()
    found = keys.find(own.encode())
    assert found is not None
    assert found.scope == "admin"


@pytest.mark.parametrize("content", [b"", b"# only a comment\n\n", b"short\n", b"\xff\xfe"])
def test_a_file_of_plain_keys_without_good_ones_is_a_usage_error(tmp_path: Path, content: bytes):
    (tmp_path / "lines").write_bytes(content)
    with pytest.raises(UsageError):
        read_plain_keys(tmp_path / "lines")


def test_a_file_of_plain_keys_that_is_missing_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError):
        Keys.open(tmp_path / "keys.json", tmp_path / "none")


def test_plain_keys_are_for_admins_and_not_kept_in_the_clear(tmp_path: Path):
    (tmp_path / "lines").write_text("# of the team\n\n  a-good-long-key  \nanother-long-key\n")
    keys = read_plain_keys(tmp_path / "lines")
    assert [key.scope for key in keys] == ["admin", "admin"]
    assert "long-key" not in repr(keys)


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    """Every key is compared, also when the first one matches, and only by its digest."""
    compared: list[tuple[str, str]] = []

    def compare(left: str, right: str) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr("mlm.server.keys.hmac.compare_digest", compare)
    plain = [Key(f"k{i}", "user", "", digest_of(b"secret-%d" % i), None) for i in range(5)]
    keys = Keys(plain=plain)
    found = keys.find(b"secret-0")
    assert found is not None
    assert found.name == "k0"
    assert keys.find(b"secret-9") is None
    assert len(compared) == 10
    assert {len(side) for pair in compared for side in pair} == {64}
