"""``mlm cache prune``: drop what is too old or over the limits."""

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

EXAMPLES = {
    "mlm cache prune": "Make room now; running servers do it by themselves",
    "mlm cache prune --json": "The same for a script, with how many answers went",
}


def prune(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """Forget answers that are too old, or more than the cache may hold.

    Servers do this by themselves.
    """
    from mlm.server.cache_file import CacheLimits, edit_cache, prune

    database = session(ctx).settings.home.response_cache_db
    pruned = edit_cache(database, lambda connection: prune(connection, CacheLimits()))
    session(ctx).emit(
        "cache.prune",
        {"pruned": pruned},
        as_json=as_json,
        human=lambda: f"forgot {pruned} answers",
    )
