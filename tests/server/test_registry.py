"""Announcements of servers on a disk that fails."""

import errno
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
