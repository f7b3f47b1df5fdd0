"""Runs a command in a process of its own that kills itself just before one of its steps."""

import signal
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, signal, sys
steps = ("os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.mkdir",
         "os.utime", "open")
left, where = int(sys.argv[1]), sys.argv[2]
def count(event, arguments):
    global left
    if event in steps and where in str(arguments):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from mlm.cli.app import run
sys.addaudithook(count)
sys.exit(run(sys.argv[3:]))
"""


def killed_at(step: int, where: str, *words: str | Path) -> bool:
    """Run ``mlm words``; kill it before the ``step``-th change of a path that contains ``where``.

    Return whether it came so far.
    """
    command = [sys.executable, "-c", _PROGRAM, str(step), where, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0
