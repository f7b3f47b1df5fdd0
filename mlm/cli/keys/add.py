"""``mlm keys add``: make a key."""

from typing import Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import print_document, print_text, session

NameArg = Annotated[
    str, typer.Argument(metavar="NAME", help="Whose it is, or what it is for.", show_default=False)
]
AdminOpt = Annotated[
    bool, typer.Option("--admin", help="Also for the server itself: figures, models, dashboard.")
]
PerMinuteOpt = Annotated[
    int | None,
    typer.Option(
        "--requests-per-minute",
        min=1,
        max=100_000,
        metavar="N",
        help="At most so many requests in any minute.",
        show_default=False,
    ),
]
ConcurrentOpt = Annotated[
    int | None,
    typer.Option(
        "--concurrent",
        min=1,
        max=1024,
        metavar="N",
        help="At most so many requests at once.",
        show_default=False,
    ),
]


EXAMPLES = {
    "mlm keys add alice": "A key that asks models, and nothing else",
    "mlm keys add robot --requests-per-minute 60 --concurrent 2": "One with limits",
    "mlm keys add boss --admin": "One that also loads models and sees the dashboard",
}


def add(
    ctx: typer.Context,
    name: NameArg,
    admin: AdminOpt = False,
    requests_per_minute: PerMinuteOpt = None,
    concurrent: ConcurrentOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Make an API key and show it, this once.

    From then on, servers answer nobody without a key.
    """
    from mlm.engine import require_engine

    require_engine()
    from mlm.cli.keys._document import describe_key
    from mlm.server.keys_file import add_key, new_key

    key, secret = new_key(name, "admin" if admin else "user", requests_per_minute, concurrent)
    add_key(session(ctx).settings.home.keys, key)
    if as_json:
        print_document("keys.add", {"key": secret, **describe_key(key)})
    else:
        print_text(secret)
    session(ctx).note("It is kept nowhere, so keep it now; running servers know it already.")
