"""Starting a worker process so that it can neither outlive nor harm the process that starts it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

Spawned = tuple[subprocess.Popen[bytes], socket.socket]  # a worker, and our end of its socket
Spawn = Callable[[Sequence[str], Path | None], Spawned]

DEFAULT_COMMAND = (sys.executable, "-m", "mlm.engine.worker")
PARENT_VARIABLE = "MLM_WORKER_PARENT"
ENDLESS_CHOICE = 70  # exit code of a worker that one request's grammar blocked for ever

# Names, and beginnings of names, that a worker may see. Everything else stays here: a worker reads
# files made by strangers, so tokens and keys must not be within its reach.
_KEPT = frozenset(
    {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "VIRTUAL_ENV"}
)
_KEPT_PREFIXES = (
    "LC_", "PYTHON", "LD_LIBRARY_PATH", "DYLD_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_",
    "GGML_", "OMP_", "GOMP_", "KMP_",
)  # fmt: skip
# How often llama.cpp's OpenMP threads look for their siblings before they sleep: about half a
# millisecond, longer than they are ever apart on a quiet machine. GCC's default of 300,000 keeps
# them busy for 16 ms at every barrier, which on a machine shared with other work made answers
# four times slower (2 threads on 2 busy cores: 0.9 and 4.5 tokens/s).
_SPIN_COUNT = "10000"
# For the C library: huge pages. Of a machine that has run for a while a process gets the scraps of
# memory, page by page, and reads them up to a fifth slower; how fast was a matter of luck.
_HUGE_PAGES = "glibc.malloc.hugetlb=1"


def scrub_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of ``environ`` that a worker needs, and what keeps it quiet and small."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    kept["GGML_NO_BACKTRACE"] = "1"  # an abort would otherwise start gdb: 0.8 s instead of 0.2 s
    kept["OPENBLAS_NUM_THREADS"] = "1"  # numpy's threads would take memory and never work
    kept.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
    kept["GLIBC_TUNABLES"] = _HUGE_PAGES
    return kept


def spawn_worker(command: Sequence[str], log_path: Path | None) -> Spawned:
    """Start ``command --fd N`` in a session of its own; return it and our end of its socket.

    Its output goes to ``log_path``. Started from the main thread, a worker also learns who its
    parent is: only then may it ask the kernel to be killed with its parent, because that signal
    comes when the *thread* that started it ends.
    """
    ours, theirs = socket.socketpair()
    environment = scrub_environment(os.environ)
    if threading.current_thread() is threading.main_thread():
        environment[PARENT_VARIABLE] = str(os.getpid())
    try:
        with _open_log(log_path) as log, theirs:
            process = subprocess.Popen(
                [*command, "--fd", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    return process, ours


@dataclass(frozen=True, slots=True)
class Launch:
    """How a worker comes into being: the command that it is, and what starts it."""

    command: Sequence[str] = DEFAULT_COMMAND
    spawn: Spawn = spawn_worker


LAUNCH = Launch()  # as usual


class EarlyWorker:
    """Spawns workers as `spawn_worker` does, the first of them at once.

    A worker needs as long to start as a server does, and only then its model: so they start side by
    side. Leaving the context kills a worker that nobody has asked for.
    """

    def __init__(self, log_path: Path | None, command: Sequence[str] = DEFAULT_COMMAND) -> None:
        self._asked = command, log_path
        self._spawned: Spawned | None = spawn_worker(command, log_path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spawned is not None:
            discard_worker(*self._spawned)

    def __call__(self, command: Sequence[str], log_path: Path | None) -> Spawned:
        """Return a worker with this log; call it on the main thread."""
        if self._spawned is None or (command, log_path) != self._asked:
            return spawn_worker(command, log_path)
        spawned, self._spawned = self._spawned, None
        return spawned


def kill_worker(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and whatever it started; nothing happens when it is gone already."""
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def discard_worker(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    """End a worker that nobody has begun to talk with, and leave nothing of it."""
    connection.close()
    kill_worker(process)
    process.wait()


def describe_exit(returncode: int | None) -> str:
    """Return how a process ended, in words: ``killed by SIGSEGV``, ``exit code 3``."""
    if returncode is None:
        return "closed its connection"
    if returncode == ENDLESS_CHOICE:
        return "another request's grammar blocked it"
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _open_log(path: Path | None) -> BinaryIO:
    if path is None:
        return Path(os.devnull).open("ab")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
