"""``mlm unpin``: let a pinned model make room again."""

import typer

from mlm.cli._options import InstalledRefArg, JsonOpt
from mlm.cli._resident import PidOpt, administer
from mlm.cli._session import session

EXAMPLES = {
    "mlm unpin qwen3-8b": "Let it make room again",
    "mlm unpin qwen3-8b --pid 4711": "In one of several servers, as mlm ps shows them",
}


def unpin(
    ctx: typer.Context,
    ref: InstalledRefArg,
    pid: PidOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Let a pinned model make room for others again."""
    server, model = administer(session(ctx), "unpin", ref, pid)
    session(ctx).emit(
        "unpin",
        {"pid": server.pid, "url": server.url, "model": model},
        as_json=as_json,
        human=lambda: f"{model['model']} is not pinned at {server.url}",
    )
