"""``mlm unload``: have a running server give the memory of a model back."""

import typer

from mlm.cli._options import InstalledRefArg, JsonOpt
from mlm.cli._resident import PidOpt, administer
from mlm.cli._session import session

EXAMPLES = {
    "mlm unload qwen3-8b": "Give its memory back",
    "mlm unload qwen3-8b --pid 4711": "In one of several servers, as mlm ps shows them",
}


def unload(
    ctx: typer.Context,
    ref: InstalledRefArg,
    pid: PidOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Unload a model of a running server; not while it is busy or pinned."""
    server, model = administer(session(ctx), "unload", ref, pid)
    session(ctx).emit(
        "unload",
        {"pid": server.pid, "url": server.url, "model": model},
        as_json=as_json,
        human=lambda: f"{model['model']} is not loaded at {server.url}",
    )
