"""What each key does."""

from dataclasses import replace

import pytest
from fakes.stats_server import full_resident, full_stats

from mlm.monitor.reading import read_stats
from mlm.monitor.view import View, Wish, list_models, press, settle
from mlm.monitor.watcher import Sight


@pytest.fixture
def sight() -> Sight:
    document = full_stats()
    document["resident"] = [
        full_resident("alpha", waiting=0, active=0),
        full_resident("beta", pinned=True, waiting=9),
        full_resident("gamma", state="stopped"),
    ]
    return Sight("http://x", read_stats(document), installed=("delta", "alpha"))


def names(sight: Sight, view: View) -> list[str]:
    return [row.model.name for row in list_models(sight, view.order)]


def test_models_in_use_come_first_then_those_that_could_be_loaded(sight: Sight):
    assert names(sight, View()) == ["alpha", "beta", "delta", "gamma"]


def test_the_first_model_is_chosen_until_a_key_says_another(sight: Sight):
    rows = list_models(sight, "name")
    view = settle(View(), rows)
    assert view.chosen == "alpha"
    for key, chosen in (("down", "beta"), ("j", "delta"), ("k", "beta"), ("up", "alpha")):
        view, wish = press(view, key, rows)
        assert (view.chosen, wish) == (chosen, None)
    assert press(view, "up", rows)[0].chosen == "alpha"
    assert press(view, "pagedown", rows)[0].chosen == "gamma"


def test_a_model_that_has_gone_is_not_chosen_any_more(sight: Sight):
    assert settle(View("omega"), list_models(sight, "name")).chosen == "alpha"
    assert settle(View("omega"), []).chosen == ""


def test_load_and_pin_are_done_at_once(sight: Sight):
    rows = list_models(sight, "name")
    assert press(View("delta"), "l", rows)[1] == Wish("order", "load", "delta")
    assert press(View("alpha"), "p", rows)[1] == Wish("order", "pin", "alpha")
    assert press(View("beta"), "p", rows)[1] == Wish("order", "unpin", "beta")


def test_unload_asks_first(sight: Sight):
    rows = list_models(sight, "name")
    view, wish = press(View("alpha"), "u", rows)
    assert (view.unloading, wish) == ("alpha", None)
    assert press(view, "y", rows) == (View("alpha"), Wish("order", "unload", "alpha"))
    for key in ("n", "escape", "enter", "q", "c-c"):
        assert press(view, key, rows) == (View("alpha"), None)


def test_what_is_not_loaded_cannot_be_unloaded(sight: Sight):
    view = View("delta")
    assert press(view, "u", list_models(sight, "name")) == (view, None)


def test_the_order_goes_round(sight: Sight):
    view = View()
    seen = []
    for _ in range(5):
        view, _ = press(view, "s", [])
        seen.append(view.order)
    assert seen == ["tokens/s", "queue", "requests", "memory", "name"]
    assert names(sight, View(order="queue"))[0] == "beta"


def test_help_is_left_by_any_key_and_quitting_is_quitting():
    helping, _ = press(View(), "?", [])
    assert helping.helps
    assert press(helping, "q", []) == (View(), None)
    for key in ("q", "escape", "c-c", "c-d"):
        assert press(View(), key, []) == (View(), Wish("quit"))
    assert press(View(), " ", []) == (View(), Wish("hold"))


def test_other_keys_do_nothing(sight: Sight):
    rows = list_models(sight, "name")
    for key in ("x", "f1", "<bracketed-paste>", "enter"):
        assert press(replace(View(), chosen="alpha"), key, rows) == (View("alpha"), None)
