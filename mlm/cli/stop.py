"""``mlm stop``: end running servers."""

import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.errors import ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from mlm.server.registry import RunningServer

_PATIENCE_S = 30.0  # a server lets its answers finish for 20 s

PidsArg = Annotated[
    list[int] | None,
    typer.Argument(
        metavar="[PID]...", help="As `mlm ps` shows them; may be left out if there is one only."
    ),
]
AllOpt = Annotated[bool, typer.Option("--all", help="Every server, private ones too.")]
NowOpt = Annotated[bool, typer.Option("--now", help="Do not wait for answers on their way.")]


EXAMPLES = {
    "mlm stop": "The only server there is",
    "mlm stop 4711": "One of several, as mlm ps shows them",
    "mlm stop --all --now": "All of them, without waiting for answers",
}


def stop(
    ctx: typer.Context,
    pids: PidsArg = None,
    everything: AllOpt = False,
    now: NowOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Stop a running server, once its answers are complete."""
    from mlm.cli._waiting import waiting_for
    from mlm.server.registry import Registry

    running = Registry(session(ctx).settings.home.run).servers()
    servers = running if everything else _choose(running, pids or [])
    for server in servers:
        _signal(server.pid, now=now)
    with waiting_for(session(ctx), "waiting for answers on their way"):
        stopped = [server.pid for server in servers if _wait(server)]
    session(ctx).emit(
        "stop",
        {"stopped": stopped},
        as_json=as_json,
        human=lambda: (
            "\n".join(f"stopped {s.pid} at {s.url}" for s in servers) or "nothing to stop"
        ),
    )
    if left := [str(server.pid) for server in servers if server.pid not in stopped]:
        raise ConflictError(
            f"still running: {', '.join(left)}", remedy=f"mlm stop --now {' '.join(left)}"
        )


def _choose(running: "list[RunningServer]", pids: list[int]) -> "list[RunningServer]":
    """Return the servers that are meant."""
    by_pid = {server.pid: server for server in running}
    if unknown := [pid for pid in pids if pid not in by_pid]:
        raise NotFoundError(f"no server of mlm has the process id {unknown[0]}", remedy="mlm ps")
    if pids:
        return [by_pid[pid] for pid in pids]
    public = [server for server in running if not server.private]
    if not public:
        raise NotFoundError("no server is running", remedy="mlm ps")
    if len(public) > 1:
        ids = " ".join(str(server.pid) for server in public)
        raise UsageError(f"{len(public)} servers are running: {ids}", remedy=f"mlm stop {ids}")
    return public


def _signal(pid: int, *, now: bool) -> None:
    # A second signal means "at once"; two of the same kind might arrive as one.
    for number in (signal.SIGTERM, signal.SIGINT) if now else (signal.SIGTERM,):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise UsageError(f"process {pid} belongs to another user") from error


def _wait(server: "RunningServer") -> bool:
    """Wait for a server to end; return whether it has."""
    import time

    from mlm.server.registry import is_running

    deadline = time.monotonic() + _PATIENCE_S
    while is_running(server):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
