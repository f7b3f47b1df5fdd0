"""The page at every size: complete where there is room, readable where there is little."""

import re
from dataclasses import replace

import pytest
from fakes.stats_server import full_request, full_resident, full_stats
from rich.cells import cell_len

from mlm.monitor.pace import Pacer
from mlm.monitor.page import draw_page
from mlm.monitor.reading import read_stats
from mlm.monitor.types import Percentiles
from mlm.monitor.view import View
from mlm.monitor.watcher import Sight
from mlm.monitor.words import spread_of


def sight_of(**changes: object) -> Sight:
    document = full_stats()
    document["resident"] = [
        full_resident("alpha"),
        full_resident("org/a-rather-long-name-of-a-model:Q4_K_M", state="starting", progress=0.43),
        full_resident("gamma", state="stopped", trouble="the worker crashed: signal 9"),
    ]
    document["recent"].insert(
        1, full_request("alpha", 1, error="queue_full", status=429, ttft_ms=None, tenant="team-a")
    )
    document |= changes
    pacer = Pacer()
    for second in range(100):
        for model in document["resident"][:1]:
            model["work"] |= {"step_s": second, "decode_tokens": 40 * second}
        reading = read_stats(document)
        pace = pacer.note(reading, float(second))
    return Sight("http://127.0.0.1:8000", reading, pace, ("alpha", "delta"), seen_at=0.0)


def draw(sight: Sight, columns: int = 80, rows: int = 24, **view: object) -> list[str]:
    lines = draw_page(sight, View(**{"chosen": "alpha"} | view), columns, rows, pretty=True)  # type: ignore[arg-type]
    return ["".join(text for _, text in line).rstrip() for line in lines]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 119, 120, 200])
@pytest.mark.parametrize("rows", [1, 2, 5, 10, 24, 60])
def test_it_never_exceeds_the_screen(columns: int, rows: int):
    for sight in (sight_of(), Sight("http://127.0.0.1:8000"), sight_of(resident=[], models=[])):
        for view in ({}, {"helps": True}, {"unloading": "alpha"}):
            lines = draw(sight, columns, rows, **view)
            assert len(lines) == rows or rows < 2
            assert max(map(cell_len, lines)) <= columns


def test_at_80_by_24_all_that_counts_is_there():
    text = "\n".join(draw(sight_of()))
    for wanted in (
        "● live", "127.0.0.1:8000", "CPU", "37 % of 16 cores", "16.0 GiB of 64.0 GiB", "GPU 0",
        "87 %", "40.0 tok/s", "3/8", "42/180/950", "6.5/9.2/31", "● ready", "◐ load 43%",
        "✕ trouble", "○ not loaded", "delta", "40 % hits, 40 of 100", "✕ alpha", "429 queue_full",
        "first after 42 ms", "? help", "q quit",
    ):  # fmt: skip
        assert wanted in text, f"no {wanted}:\n{text}"


def test_at_40_columns_the_chosen_model_tells_what_its_row_cannot():
    lines = draw(sight_of(), columns=40)
    text = " ".join(lines)
    assert "● ready" in text and "42/180/950" in text
    assert "16.0 GiB of 64.0 GiB" in text, "figures are whole or not there"
    assert [line for line in lines if line.endswith("…") and "org/" not in line] == []
    assert "? help" in lines[-1] and "q quit" in lines[-1]


def test_at_200_columns_there_is_more():
    text = "\n".join(draw(sight_of(), columns=200))
    for wanted in ("REUSED", "75 %", "E2E ms", "1.2s/12.5s/61.0s", "MEMORY", "5.00 GiB", "1234"):
        assert wanted in text, f"no {wanted}:\n{text}"


def test_without_colour_the_chosen_row_has_a_mark():
    marked = [line for line in draw(sight_of()) if line.startswith("▸")]
    assert len(marked) == 1 and "alpha" in marked[0]


def test_a_page_for_ascii_is_ascii():
    lines = draw_page(sight_of(), View("alpha"), 80, 24, pretty=False)
    signs = {
        char for line in lines for style, text in line if "chart" not in style for char in text
    }
    assert {sign for sign in signs if not sign.isascii()} == set()


def test_when_the_server_has_gone_it_says_so_and_of_when_the_figures_are():
    head = draw(replace(sight_of(), trouble="cannot talk to it: refused", seen_at=0.0))[0]
    assert re.match(r"✕ NO ANSWER since \d\d:00:00, trying again: cannot talk to it: refused", head)


def test_the_chosen_model_is_in_sight_however_many_there_are():
    many = [full_resident(f"model-{n:03}") for n in range(100)]
    for chosen in ("model-000", "model-050", "model-099"):
        text = "\n".join(draw(sight_of(resident=many), chosen=chosen))
        assert f"▸ {chosen}" in text
        assert "RECENT REQUESTS" in text


def test_an_empty_server_says_what_to_do():
    sight = Sight("http://x", read_stats({}), seen_at=0.0)
    assert "mlm download NAME" in "\n".join(draw(sight, chosen=""))


def test_help_explains_every_key():
    text = "\n".join(draw(sight_of(), helps=True))
    for wanted in ("load it", "unload it", "pin it", "sort by", "space", "q, Esc, Ctrl-C", "TTFT"):
        assert wanted in text


def test_help_is_laid_out_for_the_width_there_is():
    lines = draw(sight_of(), 60, 24, helps=True)
    (sorting,) = (n for n, line in enumerate(lines) if line.startswith("s  "))
    assert lines[sorting + 1].startswith(" " * 17)
    words = [line for line in lines if line and not line.startswith(" ")]
    first = next(n for n, line in enumerate(words) if line.startswith("Percentiles"))
    assert all(len(line) > 45 for line in words[first : first + 4])


def test_durations_over_a_second_have_a_unit_each():
    assert spread_of(Percentiles(8.1, 20, 310), "for an answer") == "8.1/20/310 ms for an answer"
    assert spread_of(Percentiles(432, 1400, 2800), "in all") == "432ms/1.4s/2.8s in all"
    assert spread_of(Percentiles(None, None, None), "in all") == ""


def test_orders_are_answered_on_the_last_line():
    assert draw(sight_of(), unloading="alpha")[-1] == "unload alpha? y or n"
    sight = sight_of()
    refused = replace(sight, reply="alpha is pinned", refused=True, replied_at=sight.pace.at)
    assert draw(refused)[-1].startswith("✕ alpha is pinned")


def test_after_a_while_the_keys_are_back_on_the_last_line():
    sight = sight_of()
    done = replace(sight, reply="alpha is loaded", replied_at=sight.pace.at - 5)
    assert draw(done)[-1] == "alpha is loaded"
    assert "? help" in draw(replace(done, replied_at=sight.pace.at - 60))[-1]
    assert "alpha" in draw(replace(done, replied_at=0.0, busy=frozenset({"alpha"})))[-1]
