"""Announcements of servers on a disk that fails."""

import errno
import os
from pathlib import Path

import pytest

from mlm.server.registry import Registry, RunningServer


def test_an_announcement_that_finds_no_room_names_its_file_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "77.partial").symlink_to("/dev/full")
    server = RunningServer(77, 0.0, "http://127.0.0.1:1", {}, needs_key=False, private=False)
    with pytest.raises(OSError, match="No space left") as error:
        Registry(tmp_path).announce(server)
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "77.json"))
    assert list(tmp_path.iterdir()) == []


def test_the_key_of_a_server_is_for_its_owner_and_goes_with_it(tmp_path: Path):
    registry = Registry(tmp_path)
    registry.keep_key(77, "secret")
    assert (tmp_path / "77.key").stat().st_mode & 0o777 == 0o600
    assert registry.key_of(77) == "secret"
    registry.withdraw(77)
    assert registry.key_of(77) is None


def test_the_key_of_a_server_that_was_killed_is_swept_up(tmp_path: Path):
    registry = Registry(tmp_path)
    registry.keep_key(77, "secret")
    registry.announce(RunningServer(77, 0.0, "http://127.0.0.1:1", {}, True, False))
    assert registry.servers() == []
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_finds_no_room_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mlm.paths.os.fsync", fail)
    with pytest.raises(OSError, match="No space left") as error:
        Registry(tmp_path).keep_key(77, "secret")
    assert error.value.filename == str(tmp_path / "77.key")
    assert list(tmp_path.iterdir()) == []


def test_what_servers_left_that_were_killed_while_they_started_is_swept_up(tmp_path: Path):
    registry, gone = Registry(tmp_path), 2**22 + 1  # more than any process has
    registry.keep_key(os.getpid(), "of one that is starting")
    for name in (f"{gone}.key", f"{gone}.partial", f"{gone}.key.{gone}.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    assert registry.servers() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{os.getpid()}.key", "notes.txt"]
