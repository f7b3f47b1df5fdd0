"""``mlm ps``: the servers that run on this machine."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.errors import MlmError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.server.registry import RunningServer

_TABLE_WIDTH = 70  # columns of a terminal that a table needs
_ANSWER_S = 2.0  # a server that is asked how it is; else what it last announced has to do


EXAMPLES = {
    "mlm ps": "Which servers run, with which models",
    "mlm ps --json": "The same for a script",
}


def ps(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """List the running servers and the models they hold in memory."""
    from mlm.server.registry import Registry

    registry = Registry(session(ctx).settings.home.run)
    servers = [_asked(server, registry.key_of(server.pid)) for server in registry.servers()]
    session(ctx).emit(
        "ps",
        {"servers": [asdict(server) for server in servers]},
        as_json=as_json,
        human=lambda: _describe(servers),
    )
    if not servers:
        session(ctx).note("hint: mlm serve REF")


def _asked(server: "RunningServer", key: str | None) -> "RunningServer":
    """Return ``server`` with its models as they are now, if it tells."""
    from mlm.client import Client

    with suppress(MlmError, KeyError), Client(server.url, key, silence_s=_ANSWER_S) as client:
        models = client.stats()["resident"]
        loaded = (model for model in models if model["state"] != "stopped" or model["waiting"])
        return replace(server, resident=tuple(loaded))
    return server


def _describe(servers: "list[RunningServer]") -> "RenderableType":
    from rich.text import Text

    if not servers:
        return Text("no server is running")
    if shutil.get_terminal_size().columns < _TABLE_WIDTH:
        return Text("\n".join(line for server in servers for line in _lines(server)))
    return _table(servers)


def _lines(server: "RunningServer") -> Iterator[str]:
    """Yield a server and its models one below the other, where a table has no room."""
    from mlm.units import format_duration, format_size

    up = format_duration(max(time.time() - server.started_at, 0))
    private = ", of one command" if server.private else ""
    yield f"{server.pid}  {server.url}"
    yield f"  up {up}{private}"
    for model_id, model in _models(server):
        yield f"  {model_id}"
        size = f", {format_size(model['memory_bytes'])}" if model else ""
        yield f"    {_describe_state(model)}{size}"


def _models(server: "RunningServer") -> "Iterator[tuple[str, dict[str, Any] | None]]":
    """Yield the names of what a server offers or holds, and how those are that it holds."""
    held = {model["model"]: model for model in server.resident}
    for model_id in dict.fromkeys([*server.models, *held]):
        yield model_id, held.get(model_id)


def _table(servers: "list[RunningServer]") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_duration, format_size

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("PID", justify="right", no_wrap=True)
    table.add_column("URL", no_wrap=True)
    table.add_column("UP", justify="right", no_wrap=True)
    table.add_column("MODEL", overflow="fold")
    table.add_column("STATE", overflow="fold")
    table.add_column("MEMORY", justify="right", no_wrap=True)
    for server in servers:
        up = format_duration(max(time.time() - server.started_at, 0))
        columns = [str(server.pid), server.url + (" *" if server.private else ""), up]
        for model_id, model in list(_models(server)) or [("", None)]:
            state = _describe_state(model) if model_id else ""
            size = format_size(model["memory_bytes"]) if model else ""
            table.add_row(*columns, Text(model_id), state, size)
            columns = ["", "", ""]
    if any(server.private for server in servers):
        table.caption = "* belongs to one command and ends with it"
    return table


def _describe_state(model: dict[str, Any] | None) -> str:
    """Return in words how a model is: ``ready, pinned, 2 active, 1 waiting``."""
    from mlm.units import format_duration

    if model is None:
        return "on demand"
    words = [str(model["state"])]
    if model.get("pinned"):
        words.append("pinned")
    words += [f"{model[what]} {what}" for what in ("active", "waiting") if model.get(what)]
    idle_s, ttl_s = model.get("idle_s"), model.get("ttl_s")
    if idle_s is not None and ttl_s is not None and not model.get("pinned"):
        words.append(f"goes in {format_duration(max(ttl_s - idle_s, 0))}")
    return ", ".join(words)
