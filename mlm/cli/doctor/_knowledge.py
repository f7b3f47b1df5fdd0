"""Is what mlm knows in order: the catalog, the runtime configs?"""

from collections.abc import Iterator

from mlm.catalog.load import load_catalog
from mlm.cli.doctor._finding import Finding, failed
from mlm.errors import MlmError
from mlm.planning.config_file import read_config
from mlm.settings import Settings


def check_catalog(settings: Settings) -> Iterator[Finding]:
    """The shipped catalog and the user's own files follow the schema."""
    home = settings.home
    entries = load_catalog(home.catalog, home.cache).entries
    n_files = sum(len(entry.quants) for entry in entries)
    yield Finding("catalog", "ok", f"{len(entries)} models, {n_files} files")


def check_configs(settings: Settings) -> Iterator[Finding]:
    """Every runtime config can be read."""
    files = sorted(settings.home.config.glob("*.yaml"))
    broken = 0
    for file in files:
        try:
            read_config(file)
        except MlmError as error:
            broken += 1
            yield failed("configs", error)
    if not broken:
        yield Finding("configs", "ok", f"{len(files)} in order" if files else "none yet")
