"""``mlm keys revoke``: make a key worthless."""

from typing import Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.completion.names import complete_key

NameArg = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="As `mlm keys list` shows it.",
        show_default=False,
        autocompletion=complete_key,
    ),
]


EXAMPLES = {
    "mlm keys revoke alice": "Shut alice out",
    "mlm keys revoke alice --json": "The same for a script",
}


def revoke(ctx: typer.Context, name: NameArg, as_json: JsonOpt = False) -> None:
    """Revoke an API key; running servers refuse it from their next request on.

    What it has been asked already is answered to the end.
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
