"""``mlm stats``: what the servers have done."""

import time
from pathlib import Path

import pytest
from fakes.fake_server import serving
from fakes.request_stats import request

from mlm.errors import ExitCode
from mlm.stats.recorder import Recorder
from mlm.stats.types import LoadStats


@pytest.fixture
def history(home: Path) -> None:
    now = time.time()
    recorder = Recorder(home / "stats.sqlite")
    for age_s, model in ((10 * 86400, "old"), (60, "tiny"), (30, "tiny")):
        recorder.note(request(finished_at=now - age_s, model=model))
    recorder.note(request(finished_at=now, model="tiny", ok=False, error="queue_full"))
    recorder.note(LoadStats(now - 70, "tiny", True, 1.5, 10, 11))
    recorder.close()


def test_without_a_history_there_is_nothing_to_sum_up(mlm, home: Path):
    assert mlm("stats").stdout == "no requests yet\n"
    document = mlm("stats", "--json").json
    assert document["schema"] == "mlm.stats/1"
    assert document["models"] == []
    assert document["response_cache"]["hit_rate"] is None
    assert not home.exists()


def test_the_document_has_every_field_of_the_contract(mlm, history):
    document = mlm("stats", "--json").json
    assert document["since"] is None
    tiny, old = document["models"]
    assert (tiny["model"], old["model"]) == ("tiny", "old")
    assert set(tiny) >= {
        "model",
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "ttft_ms",
        "itl_ms",
        "e2e_ms",
        "load_ms",
        "decode_tps",
        "requests_per_s",
        "success_rate",
        "errors",
    }
    for name in ("ttft_ms", "itl_ms", "e2e_ms", "load_ms"):
        assert set(tiny[name]) == {"count", "avg", "min", "max", "p50", "p95", "p99"}
    assert tiny["requests"] == 3
    assert tiny["success_rate"] == pytest.approx(2 / 3)
    assert tiny["errors"] == {"queue_full": 1}
    assert set(document["response_cache"]) == {
        "entries",
        "bytes",
        "hits",
        "misses",
        "shared",
        "hit_rate",
    }


def test_since_leaves_out_what_is_older(mlm, history):
    document = mlm("stats", "--since", "7d", "--json").json
    assert [model["model"] for model in document["models"]] == ["tiny"]
    assert document["since"] == pytest.approx(time.time() - 7 * 86400, abs=60)
    assert mlm("stats", "--since", "1s", "--json").json["models"][0]["requests"] == 1


@pytest.mark.parametrize("since", ["", "7", "d", "-7d", "7 days ago", "1e9d", "seven"])
def test_what_is_not_a_time_is_a_usage_error(mlm, since: str):
    result = mlm("stats", "--since", since)
    assert result.exit_code == ExitCode.USAGE


def test_the_table_fits_80_columns(mlm, history):
    table = mlm("stats").stdout
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "tiny" in table
    assert "67%" in table


def test_a_damaged_history_is_put_aside_and_not_an_error(mlm, home: Path):
    home.mkdir()
    (home / "stats.sqlite").write_bytes(b"junk" * 5000)
    assert mlm("stats").exit_code == ExitCode.OK
    assert (home / "stats.sqlite.broken").exists()


def test_what_a_server_did_is_summed_up_after_it_has_gone(mlm, tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        for _ in range(2):
            server.chat("n=4", temperature=0)
        server.stop()
    document = mlm("--home", tmp_path / "home", "stats", "--json").json
    (model,) = document["models"]
    assert (model["model"], model["requests"], model["completion_tokens"]) == ("alpha", 2, 8)
    assert model["load_ms"]["count"] == 1
    cache = document["response_cache"]
    assert (cache["entries"], cache["hits"], cache["misses"]) == (1, 1, 1)


def test_neither_stats_nor_cache_load_the_server(tmp_path: Path):
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from mlm.cli.app import run\n"
        f"run(['--home', {str(tmp_path)!r}, 'stats', '--json'])\n"
        f"run(['--home', {str(tmp_path)!r}, 'cache', 'stats', '--json'])\n"
        f"run(['--home', {str(tmp_path)!r}, 'ps', '--json'])\n"
        "heavy = {'starlette', 'uvicorn', 'msgspec', 'llama_cpp', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
