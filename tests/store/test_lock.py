"""One process at a time."""

import subprocess
import sys
from pathlib import Path

from mlm.store.lock import locked

HOLDER = """
import sys
from pathlib import Path
from mlm.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_waits_until_the_first_has_died(tmp_path: Path):
    path = tmp_path / "locks" / "x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        waited = []

        def on_wait() -> None:
            waited.append(holder.poll())
            holder.kill()

        with locked(path, on_wait):
            pass
    assert waited, "it was free while somebody held it"


def test_a_lock_whose_file_was_deleted_guards_nothing(tmp_path: Path):
    path = tmp_path / "x.lock"
    with locked(path):
        path.unlink()
        with locked(path):  # a new file, hence a new lock
            assert path.exists()


def test_a_free_lock_is_taken_again_and_again(tmp_path: Path):
    for _ in range(3):
        with locked(tmp_path / "x.lock"):
            pass
