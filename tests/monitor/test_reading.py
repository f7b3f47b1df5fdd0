"""What a server says is read as far as it makes sense, and is safe to print."""

import pytest
from fakes.stats_server import full_request, full_resident, full_stats

from mlm.monitor.reading import read_stats


def test_every_figure_is_read():
    reading = read_stats(full_stats())
    (model,) = reading.models
    assert (model.name, model.state, model.active, model.slots, model.waiting) == (
        "alpha", "ready", 3, 8, 2,
    )  # fmt: skip
    assert (model.ttft.p50, model.ttft.p95, model.ttft.p99) == (42.0, 180.0, 950.0)
    assert model.reused == 0.75
    assert model.work is not None and model.work.clock_s == 30.0
    assert reading.machine.memory_used == 16 * 1024**3
    assert reading.machine.gpus[0].busy_percent == 87
    assert (reading.cache.answered, reading.cache.asked, reading.cache.hit_rate) == (40, 100, 0.4)
    assert [request.e2e_ms for request in reading.recent] == [1234.0] * 3
    assert reading.requests == 1234


def test_a_model_that_left_memory_keeps_its_figures():
    reading = read_stats(full_stats() | {"resident": []})
    assert [(m.name, m.state, m.requests) for m in reading.models] == [("alpha", "stopped", 1234)]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"models": None, "resident": 7, "system": [], "recent": "none", "response_cache": 1},
        {"models": ["alpha"], "resident": [None], "recent": [[]]},
        {"system": {"uptime_s": "long", "host": {"memory_total": True}, "gpus": {"a": 1}}},
        {"resident": [{"model": 4, "active": "three", "work": {"step_s": float("nan")}}]},
        {"resident": [{"active": 10**400, "work": {"step_s": 10**400, "idle_s": 1}}]},
        {"system": {"uptime_s": -1e300, "host": {"memory_total": 1e308, "memory_available": 1}}},
    ],
)
def test_what_makes_no_sense_is_not_known(document: dict):
    reading = read_stats(document)
    assert reading.uptime_s is None and reading.machine.memory_used is None
    assert all(model.work is None and not model.active for model in reading.models)


@pytest.mark.parametrize("at", [10**400, 1e18, -1e18, float("nan"), "now", None, True])
def test_a_moment_that_no_clock_can_show_is_none(at: object):
    request = full_request("alpha", 1) | {"at": at}
    (ended,) = read_stats(full_stats() | {"recent": [request]}).recent
    assert ended.at == 0.0


def test_no_text_can_command_the_terminal():
    hostile = "e\x1b]0;owned\x07vi\x9b2Jl\u202e\nnext" + "x" * 5000
    document = full_stats() | {
        "mlm_version": hostile,
        "resident": [full_resident(hostile, state=hostile, trouble=hostile)],
        "recent": [full_request(hostile, 1, error=hostile, tenant=hostile, endpoint=hostile)],
    }
    reading = read_stats(document)
    texts = [reading.version, reading.recent[0].error, reading.recent[0].key]
    texts += [text for model in reading.models for text in (model.name, model.state, model.trouble)]
    for text in texts:
        assert text.isprintable() or not text
        assert len(text) <= 300
    assert reading.models[0].name.startswith("evil next")
