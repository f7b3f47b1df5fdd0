"""Which servers run on this machine: one file per server in ``MLM_HOME/run``."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

_CLOCK_SLACK_S = 2.0  # psutil derives start times from the boot time, which may be adjusted


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server as it announced itself."""

    pid: int
    started_at: float  # of the process, Unix time: tells it from a later one with the same pid
    url: str
    models: dict[str, str]  # id -> path of those that are served, in command-line order
    needs_key: bool
    private: bool  # belongs to one command and ends with it
    resident: tuple[dict[str, Any], ...] = ()  # models in memory, see `mlm.server.report.describe`


class Registry:
    """The folder of announcements."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def announce(self, server: RunningServer) -> None:
        """Write or replace the announcement of ``server``.

        Raises:
            OSError: the folder cannot be written; ``filename`` says what.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(server.pid)
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(asdict(server)), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            error.filename = error.filename or str(path)  # a full disk is noticed without it
            raise

    def withdraw(self, pid: int) -> None:
        """Remove the announcement of a server that ends; one that stays is swept up later."""
        with suppress(OSError):
            self._path(pid).unlink()

    def servers(self) -> list[RunningServer]:
        """Return the servers that are really running, the oldest first; sweep up the others."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            server = _read(path)
            if server is not None and is_running(server):
                found.append(server)
            else:
                with suppress(OSError):
                    path.unlink()
        return sorted(found, key=lambda server: server.started_at)

    def _path(self, pid: int) -> Path:
        return self._folder / f"{pid}.json"


def own_start_time() -> float:
    """Return when this process was started, Unix time."""
    return psutil.Process(os.getpid()).create_time()


def is_running(server: RunningServer) -> bool:
    """Tell whether the process that announced itself still runs."""
    try:
        process = psutil.Process(server.pid)
        same = abs(process.create_time() - server.started_at) < _CLOCK_SLACK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def owner_of_port(port: int) -> int | None:
    """Return the pid of the process that listens on ``port``, where the system says so."""
    try:
        connections: Iterable[Any] = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    listening = (c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port)
    return next((connection.pid for connection in listening if connection.pid), None)


def _read(path: Path) -> RunningServer | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        resident = tuple(dict(model) for model in fields.pop("resident", ()))
        return RunningServer(**fields | {"models": dict(fields["models"]), "resident": resident})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
