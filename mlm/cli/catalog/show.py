"""``mlm catalog show``: everything the catalog knows of one model, with where it knows it from."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.completion.names import complete_known

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from mlm.catalog.types import CatalogEntry, Quant, SideFile


EXAMPLES = {
    "mlm catalog show qwen3-8b": "A model: its quantizations, sizes, scores and licence",
    "mlm catalog show qwen3-8b:Q4_K_M": "One quantization of it",
}


def show(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="qwen3-8b or qwen3-8b:Q4_K_M",
            show_default=False,
            autocompletion=complete_known,
        ),
    ],
    as_json: JsonOpt = False,
) -> None:
    """Show what is known of a model."""
    from dataclasses import replace

    from mlm.catalog.load import load_catalog

    home = session(ctx).settings.home
    catalog = load_catalog(home.catalog, home.cache)
    name, _, quant = model.partition(":")
    entry = catalog.find(name)
    if quant:
        entry = replace(entry, quants=(catalog.find_quant(entry, quant),))
    session(ctx).emit(
        "catalog.show",
        {"model": asdict(entry)},
        as_json=as_json,
        human=lambda: _page(entry),
    )


def _page(entry: "CatalogEntry") -> "Group":
    from rich.console import Group

    if not entry.scores:
        return Group(_facts(entry), "", _quants(entry))
    return Group(_facts(entry), "", _quants(entry), "", _scores(entry))


def _facts(entry: "CatalogEntry") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_params, format_tokens

    shape = entry.architecture
    params = format_params(entry.params)
    if entry.params_active != entry.params:
        params += f", {format_params(entry.params_active)} active per token"
    heads = f"{shape.n_layer} layers, {shape.n_head} heads, {shape.n_head_kv} KV heads"
    experts = f"{shape.n_expert_used} of {shape.n_expert} per token" if shape.n_expert else None
    gated = {True: "gated: its makers ask you to accept it first", False: "open", None: None}
    quality = ", ".join(f"{use} {value:g}" for use, value in entry.quality.items())
    rows = {
        "model": f"{entry.model_id}  ({entry.name})",
        "also called": ", ".join(entry.aliases),
        "weights": entry.base_repo,
        "parameters": params,
        "shape": f"{shape.name}: {heads} of {shape.head_dim}",
        "experts": experts,
        "context": f"{format_tokens(shape.n_ctx_train)} tokens",
        "licence": ", ".join(filter(None, (entry.license, gated[entry.gated]))),
        "released": entry.released,
        "use": ", ".join(entry.use_cases),
        "vectors": entry.min_dimensions and f"may be cut to {entry.min_dimensions} numbers",
        "quality": f"{quality} (of 100)" if quality else "no published score",
        "source": entry.source,
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows.items():
        if value:
            table.add_row(label, Text(value))
    return table


def _quants(entry: "CatalogEntry") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_size

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("QUANT", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("SHA256", no_wrap=True)
    table.add_column("FILE", overflow="fold")
    for quant in entry.quants:
        size = ("" if quant.size_exact else "~") + format_size(quant.size_bytes)
        parts = f"  ({quant.n_files} files)" if quant.n_files > 1 else ""
        file = Text(f"{quant.repo_id}/{quant.filename}{parts}")
        table.add_row(quant.quant, size, _pin(quant) or _shard_pins(quant), file)
    for side in entry.mmproj:
        size = ("" if side.size_exact else "~") + format_size(side.size_bytes)
        table.add_row("mmproj", size, _pin(side) or "-", Text(f"{side.repo_id}/{side.filename}"))
    return table


def _pin(file: "Quant | SideFile") -> str | None:
    mark = " ✓" if file.sha256_verified else ""
    return f"{file.sha256[:12]}{mark}" if file.sha256 else None


def _shard_pins(quant: "Quant") -> str:
    known = sum(shard.sha256 is not None for shard in quant.shards)
    return f"{known} of {quant.n_files}" if known else "-"


def _scores(entry: "CatalogEntry") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("SCORE", overflow="fold", ratio=3)
    table.add_column("VALUE", justify="right", no_wrap=True)
    table.add_column("SOURCE", overflow="fold", ratio=4)
    for score in entry.scores:
        table.add_row(Text(score.benchmark), f"{score.value:g} {score.unit}", Text(score.source))
    return table
