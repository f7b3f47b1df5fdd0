"""Bringing several models in: first all are looked up, then all are fetched.

What fails of one is noted with it; the others go on.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlm.cli._hub import open_hub
from mlm.cli._waiting import waiting_for
from mlm.errors import MlmError
from mlm.store.delivery import Delivery, Forecast, already_here
from mlm.store.order import Order, Shipment, look_up
from mlm.store.store import Store

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.store.download import Terms
    from mlm.store.listener import Listener
    from mlm.store.types import Downloaded


@dataclass(frozen=True, slots=True)
class Errand:
    """One REF: what it comes to, and what has become of it."""

    ref: str
    order: Order | None = None
    forecast: Forecast = field(default_factory=lambda: Forecast((), 0))
    delivery: Delivery | None = None
    shipment: Shipment | None = None  # None: it failed, or is here and the hub cannot be asked
    files: "tuple[Downloaded, ...]" = ()
    error: MlmError | None = None


class Errands:
    """Looks up and fetches; hubs and store stay open for both, until ``stack`` is closed."""

    def __init__(
        self, session: "Session", stack: ExitStack, terms: "Terms", listener: "Listener"
    ) -> None:
        """``listener`` hears what is to be said while models are looked up."""
        self._session, self._stack = session, stack
        self._terms, self._listener = terms, listener
        settings = session.settings
        self._store = stack.enter_context(Store(settings.home, settings.hub_cache))

    def look_up(self, refs: Sequence[str], make_order: Callable[[str], Order]) -> list[Errand]:
        """Return what each of ``refs`` comes to; nothing is fetched or written."""
        found = []
        for ref in refs:
            try:
                found.append(self._look_up(ref, make_order(ref)))
            except MlmError as error:
                found.append(Errand(ref, error=error))
        return found

    def fetch(self, errands: Sequence[Errand], listener: "Listener") -> list[Errand]:
        """Fetch what is missing; return the errands with what became of them."""
        done = []
        for errand in errands:
            if errand.delivery is not None and errand.shipment is not None:
                delivery = replace(errand.delivery, listener=listener)
                try:
                    errand = replace(errand, files=tuple(delivery.bring(errand.shipment)))
                except MlmError as error:
                    errand = replace(errand, error=error)
            else:
                errand = replace(errand, files=errand.forecast.files)
            done.append(errand)
        return done

    def _look_up(self, ref: str, order: Order) -> Errand:
        repo_id = order.ref.repo_id
        hub = self._stack.enter_context(open_hub(self._session, repo_id))
        if hub.offline and (kept := already_here(self._store, order)):
            return Errand(ref, order, Forecast(tuple(kept), 0))
        with waiting_for(self._session, f"asking the hub about {repo_id}"):
            shipment = look_up(hub, order, self._listener)
        delivery = Delivery(self._store, hub, self._terms, self._listener)
        return Errand(ref, order, delivery.forecast(shipment), delivery, shipment)
