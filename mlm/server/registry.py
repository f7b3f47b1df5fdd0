"""Which servers run on this machine: one file per server in ``MLM_HOME/run``.

Beside it lies a key that is good as long as that server runs, for commands of the same user. It is
readable for that user only, who could write the file of keys as well.

Where nothing was announced, psutil is not even imported: commands look here before they start.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlm.paths import replace_text

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

    def keep_key(self, pid: int, secret: str) -> None:
        """Leave a server's own key to the commands of this user.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_text(self._key_path(pid), secret, mode=0o600)

    def key_of(self, pid: int) -> str | None:
        """Return the key that a server left; None where there is none to be read."""
        try:
            return self._key_path(pid).read_text(encoding="ascii") or None
        except (OSError, UnicodeDecodeError):
            return None

    def withdraw(self, pid: int) -> None:
        """Remove the traces of a server that ends; those that stay are swept up later."""
        for path in (self._key_path(pid), self._path(pid)):
            with suppress(OSError):
                path.unlink()

    def servers(self) -> list[RunningServer]:
        """Return the servers that are really running, the oldest first; sweep up the others."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            server = _read(path)
            if server is not None and is_running(server):
                found.append(server)
            else:
                for gone in (path, path.with_suffix(".key")):
                    with suppress(OSError):
                        gone.unlink()
        self._sweep_up()
        return sorted(found, key=lambda server: server.started_at)

    def _sweep_up(self) -> None:
        """Remove what servers have left that were killed before they had announced themselves."""
        for path in self._folder.glob("[0-9]*.*"):
            if _is_abandoned(path):
                with suppress(OSError):
                    path.unlink()

    def _key_path(self, pid: int) -> Path:
        return self._folder / f"{pid}.key"

    def _path(self, pid: int) -> Path:
        return self._folder / f"{pid}.json"


def own_start_time() -> float:
    """Return when this process was started, Unix time."""
    import psutil

    return psutil.Process(os.getpid()).create_time()


def is_running(server: RunningServer) -> bool:
    """Tell whether the process that announced itself still runs."""
    import psutil

    try:
        process = psutil.Process(server.pid)
        same = abs(process.create_time() - server.started_at) < _CLOCK_SLACK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def owner_of_port(port: int) -> int | None:
    """Return the pid of the process that listens on ``port``, where the system says so."""
    import psutil

    try:
        connections: Iterable[Any] = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    listening = (c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port)
    return next((connection.pid for connection in listening if connection.pid), None)


def _is_abandoned(path: Path) -> bool:
    import psutil

    pid = path.name.partition(".")[0]
    return pid.isdecimal() and len(pid) < 10 and not psutil.pid_exists(int(pid))


def _read(path: Path) -> RunningServer | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        resident = tuple(dict(model) for model in fields.pop("resident", ()))
        return RunningServer(**fields | {"models": dict(fields["models"]), "resident": resident})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
