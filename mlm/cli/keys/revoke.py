"""``mlm keys revoke``: make a key worthless."""

from contextlib import suppress
from typing import Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.errors import MlmError


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of keys that begin with ``incomplete``."""
    from mlm.server.keys_file import read_keys
    from mlm.settings import Settings

    with suppress(MlmError, ImportError):
        settings = Settings.from_environment(home=ctx.find_root().params.get("home"))
        keys = read_keys(settings.home.keys) or ()
        return [key.name for key in keys if key.name.startswith(incomplete)]
    return []


NameArg = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="As `mlm keys list` shows it.",
        show_default=False,
        autocompletion=complete_key,
    ),
]


def revoke(ctx: typer.Context, name: NameArg, as_json: JsonOpt = False) -> None:
    """Revoke an API key; running servers refuse it from their next request on.

    What it has been asked already is answered to the end. For example: mlm keys revoke alice
    """
    from mlm.engine import require_engine

    require_engine()
    from mlm.server.keys_file import revoke_key

    path = session(ctx).settings.home.keys
    left = revoke_key(path, name)
    session(ctx).emit(
        "keys.revoke",
        {"name": name, "left": len(left)},
        as_json=as_json,
        human=lambda: f"revoked {name}",
    )
    if not left:
        session(ctx).note(
            f"It was the last one: servers answer nobody now. To need no keys any more: rm {path}"
        )
