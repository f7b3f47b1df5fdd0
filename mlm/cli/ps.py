"""``mlm ps``: the servers that run on this machine."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.server.registry import RunningServer


def ps(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """List the running servers and the models they hold in memory.

    For example: mlm ps --json
    """
    from mlm.server.registry import Registry

    servers = Registry(session(ctx).settings.home.run).servers()
    session(ctx).emit(
        "ps",
        {"servers": [asdict(server) for server in servers]},
        as_json=as_json,
        human=lambda: _table(servers),
    )
    if not servers:
        session(ctx).note("hint: mlm serve REF")


def _table(servers: "list[RunningServer]") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_duration, format_size

    if not servers:
        return Text("no server is running")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("PID", justify="right", no_wrap=True)
    table.add_column("URL", no_wrap=True)
    table.add_column("UP", justify="right", no_wrap=True)
    table.add_column("MODEL", overflow="fold")
    table.add_column("STATE", no_wrap=True)
    table.add_column("MEMORY", justify="right", no_wrap=True)
    for server in servers:
        up = format_duration(max(time.time() - server.started_at, 0))
        columns = [str(server.pid), server.url + (" *" if server.private else ""), up]
        held = {model["model"]: model for model in server.resident}
        for model_id in dict.fromkeys([*server.models, *held]) or [""]:
            model = held.get(model_id)
            state = str(model["state"]) if model else "on demand" if model_id else ""
            size = format_size(model["memory_bytes"]) if model else ""
            table.add_row(*columns, Text(model_id), state, size)
            columns = ["", "", ""]
    if any(server.private for server in servers):
        table.caption = "* belongs to one command and ends with it"
    return table
