"""``mlm pin``: keep a model in the memory of a running server."""

import typer

from mlm.cli._options import InstalledRefArg, JsonOpt
from mlm.cli._resident import PidOpt, administer
from mlm.cli._session import session

EXAMPLES = {
    "mlm pin qwen3-8b": "Let it never make room for another model",
    "mlm pin qwen3-8b --pid 4711": "In one of several servers, as mlm ps shows them",
}


def pin(
    ctx: typer.Context,
    ref: InstalledRefArg,
    pid: PidOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Keep a model in memory: once loaded, it makes room for no other and never idles out."""
    server, model = administer(session(ctx), "pin", ref, pid)
    session(ctx).emit(
        "pin",
        {"pid": server.pid, "url": server.url, "model": model},
        as_json=as_json,
        human=lambda: f"{model['model']} is pinned at {server.url}",
    )
