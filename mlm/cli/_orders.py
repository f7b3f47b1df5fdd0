"""From what a person typed to what the store can fetch: the catalog's names become repositories."""

from dataclasses import replace
from typing import TYPE_CHECKING

from mlm.errors import UsageError

if TYPE_CHECKING:
    from mlm.catalog.lookup import Catalog
    from mlm.catalog.types import CatalogEntry, Quant
    from mlm.cli._session import Session
    from mlm.store.order import Order
    from mlm.store.ref import HubRef, NameRef


def make_order(
    session: "Session", text: str, *, quant: str | None = None, revision: str | None = None
) -> "Order":
    """Return the order for ``text``; ``quant`` and ``revision`` are the options, if given.

    Raises:
        UsageError: it is a local file, cannot be a name, or names two quantizations.
        NotFoundError: the catalog knows no such model or quantization.
    """
    from mlm.catalog.load import mentions_repo
    from mlm.cli._catalog import open_catalog
    from mlm.store.ref import HubRef, LocalRef, parse_ref

    ref = parse_ref(text)
    if isinstance(ref, LocalRef):
        raise UsageError(f"{text} is a local file already", remedy=f"mlm import {text}")
    if quant is not None:
        ref = _with_quant(ref, quant)
    own = session.settings.home.catalog
    if isinstance(ref, HubRef) and not mentions_repo(own, ref.repo_id):
        return _order_from_hub(None, ref, revision)  # a new home would first parse all files
    catalog = open_catalog(session)
    if isinstance(ref, HubRef):
        return _order_from_hub(catalog, ref, revision)
    return _order_from_catalog(session, catalog, ref, revision)


def _with_quant(ref: "HubRef | NameRef", quant: str) -> "HubRef | NameRef":
    from mlm.store.names import is_quant
    from mlm.store.ref import HubRef

    if not is_quant(quant):
        raise UsageError(f"'{quant}' is not a quantization", remedy="--quant Q4_K_M")
    if isinstance(ref, HubRef) and ref.filename:
        raise UsageError(f"{ref} names a file already", remedy="leave out --quant")
    if ref.quant and ref.quant.casefold() != quant.casefold():
        raise UsageError(f"{ref} names another quantization than --quant {quant}", remedy="use one")
    return replace(ref, quant=quant)


def _order_from_hub(catalog: "Catalog | None", ref: "HubRef", revision: str | None) -> "Order":
    from mlm.store.order import Order

    return Order(
        ref,
        revision=revision or "main",
        revision_given=revision is not None,
        pin_of=lambda filename: catalog.pin(ref.repo_id, filename) if catalog else None,
    )


def _order_from_catalog(
    session: "Session", catalog: "Catalog", ref: "NameRef", revision: str | None
) -> "Order":
    from mlm.store.order import Order
    from mlm.store.ref import HubRef

    entry = catalog.find(ref.name)
    if ref.quant:
        pinned = catalog.find_quant(entry, ref.quant)
    else:
        pinned = _installed_quant(session, entry) or _best_quant(session, entry)
    return Order(
        HubRef(pinned.repo_id, pinned.quant, pinned.filename),
        revision=revision or pinned.revision,
        revision_given=revision is not None,
        model=entry.model_id,
        pin_of=lambda filename: catalog.pin(pinned.repo_id, filename),
    )


def _installed_quant(session: "Session", entry: "CatalogEntry") -> "Quant | None":
    """Return the quantization that is here already: asking again must not bring another one."""
    from mlm.store.store import Store

    with Store(session.settings.home, session.settings.hub_cache) as store:
        installed = store.find_all(entry.model_id)
    quants = {quant.quant: quant for quant in entry.quants}
    return next((quants[file.quant] for file in installed if file.quant in quants), None)


def _best_quant(session: "Session", entry: "CatalogEntry") -> "Quant":
    from mlm.cli._machine import planned_machine
    from mlm.planning.recommend import choose_quant

    if len(entry.quants) == 1:
        return entry.quants[0]
    return choose_quant(entry, planned_machine(session))
