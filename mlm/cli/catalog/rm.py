"""``mlm catalog rm``: take a model out of your own layer of the catalog."""

from typing import Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import print_document, print_text, session
from mlm.completion.names import complete_known
from mlm.errors import NotFoundError, UsageError

EXAMPLES = {
    "mlm catalog rm my-qwen": "Take out a model that you added",
    "mlm catalog rm qwen3-8b": "Go back to what came with mlm, after an update",
}


def rm(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="As mlm catalog list shows it.",
            show_default=False,
            autocompletion=complete_known,
        ),
    ],
    as_json: JsonOpt = False,
) -> None:
    """Take out what `catalog add` or `catalog update` wrote of a model.

    A shipped model of the name is there again; files that were downloaded stay.
    """
    from mlm.catalog.load import find_own
    from mlm.catalog.write import is_written_by_us

    path = find_own(session(ctx).settings.home.catalog).get(model.lower())
    if path is None:
        raise NotFoundError(f"your catalog has no model '{model}'", remedy="mlm catalog list")
    if not is_written_by_us(path):
        raise UsageError(
            f"{model} is in a file of your own, which mlm leaves alone", remedy=f"edit {path}"
        )
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot remove {path}: {error.strerror}") from error
    if as_json:
        print_document("catalog.rm", {"model": model.lower(), "path": str(path)})
    else:
        print_text(f"removed {path}")
