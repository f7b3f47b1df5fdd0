"""Makes the index of models anew, and says what it was made from."""

from collections.abc import Iterator

from mlm.cli.doctor._finding import Finding
from mlm.settings import Settings
from mlm.store.store import Store


def rebuild_index(settings: Settings) -> Iterator[Finding]:
    """The index says again what receipts and cache say."""
    with Store(settings.home, settings.hub_cache) as store:
        rebuilt = store.rebuild()
    detail = f"rebuilt from {rebuilt.receipts} receipts"
    detail += f" and {rebuilt.found} files in the cache without one"
    yield Finding("index", "ok", detail)
    if rebuilt.unreadable:
        detail = f"{rebuilt.unreadable} receipts in {settings.home.receipts} cannot be read"
        fix = "mlm import PATH, for models of yours that mlm list does not show"
        yield Finding("index", "warn", detail, fix)
    if rebuilt.gone:
        names = ", ".join(file.ref for file in rebuilt.gone)
        yield Finding("index", "warn", f"not on the disk any more: {names}", "mlm prune")
