"""What a worker does to itself before it touches a model file."""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

from mlm.engine.spawn import PARENT_VARIABLE

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OOM_SCORE_ADJ = 500  # when memory runs out the worker goes first, not the gateway


def settle_in() -> None:
    """Tie this process to its parent and make its death cheap.

    It dies with the thread that started it (Linux; elsewhere the end of the socket does it),
    writes no core file, which would hold weights and other people's prompts, goes first when
    memory runs out, and leaves Ctrl-C to the gateway.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_core_files()
    if sys.platform == "linux":
        _prefer_for_oom()
        _die_with_parent()


def _limit_core_files() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _prefer_for_oom() -> None:
    with contextlib.suppress(OSError):  # some containers forbid it; the worker works without
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE_ADJ))


def _die_with_parent() -> None:
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the line above
        os._exit(0)
