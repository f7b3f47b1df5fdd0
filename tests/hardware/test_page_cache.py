"""How much of a file is in memory."""

import os
import sys
from pathlib import Path

import pytest

from mlm.hardware.page_cache import read_resident_share


def test_what_was_just_written_is_in_memory(tmp_path: Path):
    path = tmp_path / "warm"
    path.write_bytes(os.urandom(300_000))
    assert read_resident_share(path) == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops pages when asked")
def test_what_the_kernel_let_go_of_is_not(tmp_path: Path):
    path = tmp_path / "half"
    path.write_bytes(os.urandom(1 << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 1 << 19, os.POSIX_FADV_DONTNEED)
    share = read_resident_share(path)
    assert share is not None
    assert share in (pytest.approx(0.5, abs=0.05), 1.0)  # tmpfs keeps everything


def test_of_what_is_no_file_nothing_is_known(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name in ("missing", "pipe", "empty", "."):
        assert read_resident_share(tmp_path / name) is None
