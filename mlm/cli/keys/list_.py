"""``mlm keys list``: the keys that were made."""

from typing import TYPE_CHECKING

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.server.keys_file import Key


EXAMPLES = {
    "mlm keys list": "Whose keys there are, and what they allow",
    "mlm keys list --json": "The same for a script",
}


def list_(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """List the API keys: how each begins, what it allows."""
    from mlm.engine import require_engine

    require_engine()
    from mlm.cli.keys._document import describe_key
    from mlm.server.keys_file import read_keys

    path = session(ctx).settings.home.keys
    keys = read_keys(path)
    payload = {"path": str(path), "keys": [describe_key(key) for key in keys or ()]}
    session(ctx).emit("keys.list", payload, as_json=as_json, human=lambda: _table(keys))
    if keys is None:
        session(ctx).note("hint: mlm keys add NAME")


def _table(keys: "tuple[Key, ...] | None") -> "RenderableType":
    import time

    from rich.table import Table
    from rich.text import Text

    if keys is None:
        return Text("there are no keys; servers ask for none")
    if not keys:
        return Text("all keys were revoked; servers answer nobody")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("NAME", overflow="fold")
    table.add_column("SCOPE", no_wrap=True)
    table.add_column("KEY", no_wrap=True)
    table.add_column("MADE", no_wrap=True)
    table.add_column("LIMITS", overflow="fold")
    for key in keys:
        made = time.strftime("%Y-%m-%d", time.localtime(key.created_at)) if key.created_at else ""
        table.add_row(Text(key.name), key.scope, f"{key.prefix}…", made, _limits(key))
    return table


def _limits(key: "Key") -> str:
    limits = []
    if key.requests_per_minute is not None:
        limits.append(f"{key.requests_per_minute} a minute")
    if key.concurrent is not None:
        limits.append(f"{key.concurrent} at once")
    return ", ".join(limits) or "none"
