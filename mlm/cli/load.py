"""``mlm load``: have a running server load a model."""

import typer

from mlm.cli._options import InstalledRefArg, JsonOpt
from mlm.cli._resident import PidOpt, administer
from mlm.cli._session import session

EXAMPLES = {
    "mlm load qwen3-8b": "Have it ready before the first question",
    "mlm load qwen3-8b --pid 4711": "In one of several servers, as mlm ps shows them",
}


def load(
    ctx: typer.Context,
    ref: InstalledRefArg,
    pid: PidOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Load a model into a running server, and wait until it is loaded."""
    server, model = administer(session(ctx), "load", ref, pid)
    session(ctx).emit(
        "load",
        {"pid": server.pid, "url": server.url, "model": model},
        as_json=as_json,
        human=lambda: f"{model['model']} is loaded at {server.url}",
    )
