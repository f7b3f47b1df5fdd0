"""The catalog, with the person's own layer over it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.catalog.lookup import Catalog
    from mlm.cli._session import Session


def open_catalog(session: "Session") -> "Catalog":
    """Return the catalog; the first time in a new home, reading it takes a moment.

    Raises:
        MlmError: a file of the person's own makes no sense.
    """
    from mlm.catalog.load import load_catalog
    from mlm.cli._waiting import waiting_for

    home = session.settings.home
    with waiting_for(session, "reading the catalog"):
        return load_catalog(home.catalog, home.cache)
