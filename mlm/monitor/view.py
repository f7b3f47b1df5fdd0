"""What a person looks at, and what becomes of it with each key."""

from dataclasses import dataclass, replace
from typing import Literal

from mlm.client import ModelAction
from mlm.monitor.table import ORDERS, Order, Row, make_rows, sort_models
from mlm.monitor.watcher import Sight

_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -10, "pagedown": 10}
_LEAVE = frozenset({"q", "escape", "c-c", "c-d", "<sigint>"})


@dataclass(frozen=True, slots=True)
class View:
    """What a person has chosen."""

    chosen: str = ""  # the model
    order: Order = "name"
    unloading: str = ""  # the model that is to be unloaded if the answer is y
    helps: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What a key asks for beyond another view."""

    kind: Literal["quit", "hold", "order"]
    action: ModelAction = "load"
    model: str = ""


def list_models(sight: Sight, order: Order) -> list[Row]:
    """Return the models of the server in the order in which they are shown."""
    models = sight.reading.models if sight.reading else ()
    return sort_models(make_rows(models, sight.installed, sight.pace), order)


def settle(view: View, rows: list[Row]) -> View:
    """Return ``view`` with a model chosen that is there."""
    names = [row.model.name for row in rows]
    return view if view.chosen in names else replace(view, chosen=names[0] if names else "")


def press(view: View, key: str, rows: list[Row]) -> tuple[View, Wish | None]:
    """Return what ``key`` makes of ``view``, and what it wants done."""
    if view.unloading:
        wish = Wish("order", "unload", view.unloading) if key in ("y", "Y") else None
        return replace(view, unloading=""), wish
    if view.helps and key != "c-c":
        return replace(view, helps=False), None
    if key in _LEAVE:
        return view, Wish("quit")
    if key == " ":
        return view, Wish("hold")
    if key in ("?", "h"):
        return replace(view, helps=True), None
    if key == "s":
        return replace(view, order=ORDERS[(ORDERS.index(view.order) + 1) % len(ORDERS)]), None
    names = [row.model.name for row in rows]
    if view.chosen not in names:
        return view, None
    place = names.index(view.chosen)
    if key in _STEPS:
        place = max(0, min(place + _STEPS[key], len(names) - 1))
        return replace(view, chosen=names[place]), None
    return _administer(view, key, rows[place])


def _administer(view: View, key: str, row: Row) -> tuple[View, Wish | None]:
    """Return what the keys for the chosen model do."""
    name = row.model.name
    if key == "l":
        return view, Wish("order", "load", name)
    if key == "u" and row.model.state != "stopped":
        return replace(view, unloading=name), None
    if key == "p":
        return view, Wish("order", "unpin" if row.model.pinned else "pin", name)
    return view, None
