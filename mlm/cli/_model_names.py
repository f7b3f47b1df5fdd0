"""The model names that a shell offers on a tab."""

from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from mlm.errors import MlmError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlm.settings import Settings


def complete_installed(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of installed models that begin with ``incomplete``."""
    return _beginning(incomplete, _installed(_settings(ctx)))


def complete_known(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of installed models and those of the catalog; after a colon, its quants."""
    settings = _settings(ctx)
    names = [*_installed(settings), *_known(settings, with_quants=":" in incomplete)]
    return _beginning(incomplete, names)


def _settings(ctx: typer.Context) -> "Settings":
    from mlm.settings import Settings

    return Settings.from_environment(home=ctx.find_root().params.get("home"), offline=True)


def _beginning(incomplete: str, names: "Iterable[str]") -> list[str]:
    begun = (name for name in dict.fromkeys(names) if name.startswith(incomplete))
    return [name for name in begun if name.isprintable()]  # it goes to a terminal


def _installed(settings: "Settings") -> list[str]:
    from mlm.store.store import Store

    with suppress(MlmError, OSError), Store(settings.home, settings.hub_cache) as store:
        return [name for model in store.models() for name in (model.model, model.model_id) if name]
    return []


def _known(settings: "Settings", *, with_quants: bool) -> list[str]:
    from mlm.catalog.load import load_catalog

    with suppress(MlmError, OSError):
        entries = load_catalog(settings.home.catalog, settings.home.cache).entries
        if with_quants:
            return [f"{entry.model_id}:{q.quant}" for entry in entries for q in entry.quants]
        return [entry.model_id for entry in entries]
    return []
