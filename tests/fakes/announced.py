"""Lets this process look like a running server to commands that look for one."""

import os
from dataclasses import replace
from pathlib import Path

import psutil

from mlm.server.registry import Registry, RunningServer


def announce(home: Path, **facts: object) -> None:
    """Let this process look like a running server."""
    server = RunningServer(
        pid=os.getpid(),
        started_at=psutil.Process().create_time(),
        url="http://127.0.0.1:8000",
        models={},
        needs_key=False,
        private=False,
    )
    Registry(home / "run").announce(replace(server, **facts))  # type: ignore[arg-type]
