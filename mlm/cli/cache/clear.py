"""``mlm cache clear``: forget all cached answers."""

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

EXAMPLES = {
    "mlm cache clear": "Have everything answered anew",
    "mlm cache clear --json": "The same for a script, with how many answers went",
}


def clear(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """Forget all cached answers, also those of running servers."""
    from mlm.server.cache_file import clear, edit_cache

    cleared = edit_cache(session(ctx).settings.home.response_cache_db, clear)
    session(ctx).emit(
        "cache.clear",
        {"cleared": cleared},
        as_json=as_json,
        human=lambda: f"forgot {cleared} answers",
    )
