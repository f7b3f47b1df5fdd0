"""Which server `mlm stats --live` watches, and on what kind of terminal."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlm.cli._session import Session, print_text
from mlm.errors import EngineError, NotFoundError, UsageError

if TYPE_CHECKING:
    from mlm.client import Client
    from mlm.server.registry import RunningServer


def watch_server(
    session: Session, url: str | None, port: int | None, key_file: Path | None
) -> None:
    """Show a running server until the person has seen enough.

    Raises:
        UsageError: there is no terminal, or several servers could be meant.
        NotFoundError: no server is running, or there is no such file.
        NetworkError, AuthError: it cannot be asked.
    """
    from mlm.cli._bench_target import read_key

    if url and port:
        raise UsageError("--url and --port name one server each", remedy="leave out --port")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--live is for a terminal",
            remedy="mlm stats, or for programs mlm stats --json; a server's own is at /admin/stats",
        )
    dial = _dialling(session, url or (f"http://127.0.0.1:{port}" if port else None), key_file)
    if key_file is not None:
        read_key(key_file)
    if os.environ.get("TERM") == "dumb":
        _follow(dial)
        return
    try:
        from mlm.monitor.screen import Screen
    except ModuleNotFoundError as error:
        raise EngineError(
            f"the live view needs {error.name}, which comes with the engine",
            remedy="mlm engine install, or pip install prompt-toolkit",
        ) from error
    Screen(dial, colour=not os.environ.get("NO_COLOR")).run()


def _follow(dial: "Callable[[float], Client]") -> None:
    from mlm.monitor.lines import follow

    def say(line: str) -> None:
        print_text(line)
        sys.stdout.flush()

    try:
        follow(dial, say)
    except KeyboardInterrupt:  # that is how one leaves
        print()


def _dialling(
    session: Session, url: str | None, key_file: Path | None
) -> "Callable[[float], Client]":
    """Return what finds the server and connects to it: again, when it has gone and come back."""
    from mlm.cli._bench_target import read_key
    from mlm.client import Client
    from mlm.server.registry import Registry

    watched: list[str] = []  # where it was the last time

    def dial(silence_s: float) -> Client:
        registry = Registry(session.settings.home.run)
        servers = [server for server in registry.servers() if not server.private]
        server = choose_server(servers, url, watched[0] if watched else None)
        address = url or (server.url if server else "")
        key = read_key(key_file)
        if key is None and server is not None:
            key = registry.key_of(server.pid)
        watched[:] = [address]
        return Client(address, key, silence_s=silence_s)

    return dial


def choose_server(
    servers: "list[RunningServer]", url: str | None, watched: str | None
) -> "RunningServer | None":
    """Return the server at ``url``, None if it is none of these; else the one that is meant.

    That is the one at ``watched`` if it runs, or the only one.

    Raises:
        NotFoundError: none runs.
        UsageError: several could be meant.
    """
    if url is not None:
        plain = url.rstrip("/").removesuffix("/v1").replace("//localhost", "//127.0.0.1")
        return next((server for server in servers if server.url == plain), None)
    if not servers:
        raise NotFoundError("no server is running", remedy="mlm serve REF")
    again = [server for server in servers if server.url == watched] or servers
    if len(again) > 1:
        urls = ", ".join(server.url for server in servers)
        raise UsageError(
            f"several servers could be meant: {urls}",
            remedy=f"mlm stats --live --url {servers[0].url}",
        )
    return again[0]
