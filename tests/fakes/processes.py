"""Waiting for other processes, and ending them."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Any

import psutil

DEADLINE_S = 10.0


def wait_until(happened: Callable[[], Any]) -> Any:
    """Poll until something has happened, and return it; fail after `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not (result := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
    return result


def are_gone(processes: Iterable[psutil.Process]) -> bool:
    """Tell whether all have ended; one that nobody has reaped yet counts as ended."""

    def is_gone(process: psutil.Process) -> bool:
        try:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return all(map(is_gone, processes))


def end_server(process: subprocess.Popen[str]) -> None:
    """Stop a server at once, by force if it does not listen, and close its pipes."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=15)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
