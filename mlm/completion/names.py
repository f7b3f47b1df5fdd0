"""The names that a shell is offered: models, machines, keys, conversations.

Each function gets what has been typed and returns what it may become. What an option or argument
is completed with is said where it is declared: ``autocompletion=complete_installed``.
"""

from collections.abc import Iterable
from contextlib import suppress


def complete_installed(incomplete: str) -> list[str]:
    """Return the installed models; after a colon, their quantizations."""
    return _beginning(incomplete, _installed())


def complete_known(incomplete: str) -> list[str]:
    """Return the installed models and those of the catalog; after a colon, their quantizations."""
    from mlm.catalog.names import catalog_names
    from mlm.paths import default_home

    catalog = default_home() / "catalog"
    return _beginning(incomplete, [*_installed(), *catalog_names(catalog)])


def complete_machine(incomplete: str) -> list[str]:
    """Return machines to plan for."""
    from mlm.hardware.preset import complete_preset

    return complete_preset(incomplete)


def complete_key(incomplete: str) -> list[str]:
    """Return the names of API keys."""
    from mlm.errors import MlmError
    from mlm.paths import Home, default_home
    from mlm.server.keys_file import read_keys

    with suppress(MlmError):
        keys = read_keys(Home(default_home()).keys) or ()
        return [key.name for key in keys if key.name.startswith(incomplete)]
    return []


def complete_session(incomplete: str) -> list[str]:
    """Return the ids of saved conversations, the last first."""
    from mlm.errors import MlmError
    from mlm.paths import Home, default_home
    from mlm.sessions.store import Sessions

    with suppress(MlmError), Sessions(Home(default_home()).sessions_db, wait_s=0.05) as sessions:
        found = sessions.summaries(limit=1000)
        return [known.id for known in found if known.id.startswith(incomplete.lower())]
    return []


def _installed() -> list[str]:
    from mlm.paths import Home, default_home
    from mlm.store.installed import installed_names

    return installed_names(Home(default_home()).index_db)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin so; those with a quantization only when it is its turn."""
    wanted = incomplete.lower()
    begun = [name for name in dict.fromkeys(names) if name.lower().startswith(wanted)]
    plain = {name for name in begun if ":" not in name}
    if ":" in incomplete:
        return begun
    return [name for name in begun if name.partition(":")[0] not in plain or name in plain]
