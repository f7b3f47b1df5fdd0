"""``mlm catalog list``: every known model, one line each."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.table import Table

    from mlm.catalog.types import CatalogEntry


EXAMPLES = {
    "mlm catalog list": "All known models",
    "mlm catalog list --use code": "Only models that write code",
}


def list_(
    ctx: typer.Context,
    use: Annotated[
        Literal["chat", "code", "reasoning", "embedding", "vision"] | None,
        typer.Option("--use", help="Only models for this use."),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """List the known models."""
    from mlm.catalog.load import load_catalog

    home = session(ctx).settings.home
    catalog = load_catalog(home.catalog, home.cache)
    entries = [entry for entry in catalog.entries if use is None or use in entry.use_cases]
    session(ctx).emit(
        "catalog.list",
        {"models": [_summary(entry) for entry in entries]},
        as_json=as_json,
        human=lambda: _table(entries),
    )
    if not as_json:
        n_files = sum(len(entry.quants) for entry in entries)
        session(ctx).note(f"{len(entries)} models, {n_files} files; mlm catalog show MODEL")


def _summary(entry: "CatalogEntry") -> dict[str, Any]:
    return {
        "model": entry.model_id,
        "aliases": list(entry.aliases),
        "family": entry.family,
        "name": entry.name,
        "params": entry.params,
        "params_active": entry.params_active,
        "n_ctx_train": entry.architecture.n_ctx_train,
        "license": entry.license,
        "gated": entry.gated,
        "released": entry.released,
        "use_cases": list(entry.use_cases),
        "quality": dict(entry.quality),
        "quants": [quant.quant for quant in entry.quants],
    }


def _table(entries: "list[CatalogEntry]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_params, format_tokens

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("MODEL", no_wrap=True)
    table.add_column("PARAMS", justify="right", no_wrap=True)
    table.add_column("CONTEXT", justify="right", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("USE", overflow="fold")
    for entry in entries:
        table.add_row(
            Text(entry.model_id),
            format_params(entry.params),
            format_tokens(entry.architecture.n_ctx_train),
            _span(entry.quants[0].size_bytes, entry.quants[-1].size_bytes),
            " ".join(entry.use_cases),
        )
    return table


def _span(low: int, high: int) -> str:
    """Return the sizes from ``low`` to ``high``, short enough for one column."""
    from mlm.units import GIB, MIB

    factor, unit = (GIB, "GiB") if high >= GIB else (MIB, "MiB")
    texts = [f"{size / factor:.1f}".removesuffix(".0") for size in (low, high)]
    return f"{'-'.join(dict.fromkeys(texts))} {unit}"
