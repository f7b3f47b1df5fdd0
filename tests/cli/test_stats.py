"""``mlm stats``: what the servers have done."""

import os
import subprocess
import sys
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
    code = (
        "import sys\n"
        "from mlm.cli.app import run\n"
        f"run(['--home', {str(tmp_path)!r}, 'stats', '--json'])\n"
        f"run(['--home', {str(tmp_path)!r}, 'cache', 'stats', '--json'])\n"
        f"run(['--home', {str(tmp_path)!r}, 'ps', '--json'])\n"
        "serving = {'starlette', 'uvicorn', 'msgspec', 'llama_cpp', 'numpy', 'prometheus_client'}\n"
        "heavy = serving & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def busy_week(home: Path) -> None:
    """Three days of two models and two keys."""
    now = time.mktime((*time.localtime()[:3], 12, 0, 0, 0, 0, -1))  # noon: no day is cut
    recorder = Recorder(home / "stats.sqlite")
    for age_days, n in ((2, 4), (1, 2), (0, 1)):
        for i in range(n):
            at = now - age_days * 86400 - i
            recorder.note(request(finished_at=at, model="big", tenant="team-a"))
    recorder.note(request(finished_at=now, model="small", tenant=""))
    recorder.note(LoadStats(now - 70, "big", True, 1.5, 10, 11))
    recorder.close()


def test_by_key_the_rows_are_those_who_asked(mlm, busy_week):
    document = mlm("stats", "--by", "key", "--json").json
    assert document["by"] == "key"
    assert [(row["key"], row["requests"]) for row in document["keys"]] == [
        ("team-a", 7),
        (None, 1),
    ]
    assert [row["model"] for row in document["models"]] == ["big", "small"]
    table = mlm("stats", "--by", "key").stdout
    assert "team-a" in table and "(no key)" in table


def test_by_day_each_day_has_a_row_and_a_bar(mlm, busy_week):
    document = mlm("stats", "--by", "day", "--json").json
    days = [row["day"] for row in document["days"]]
    assert days == sorted(days)
    assert [row["requests"] for row in document["days"]] == [4, 2, 2]
    lines = mlm("stats", "--by", "day").stdout.splitlines()[1:4]
    assert [line.count("█") for line in lines] == [18, 8, 8]  # of requests and of tokens


def test_a_chart_shows_each_model_over_time(mlm, busy_week):
    lines = mlm("stats", "--since", "3d").stdout.splitlines()
    (begin,) = [n for n, line in enumerate(lines) if line.startswith("requests from ")]
    big, small = lines[begin + 1 : begin + 3]
    assert big.startswith("big ")
    assert "█" in big[25:] and big.rstrip()[-1] in "▁▂▃"
    assert small.startswith("small ") and small.rstrip()[-1] == "█"


@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize("by", ["model", "key", "day", "hour"])
def test_in_a_narrow_terminal_columns_are_left_out_not_torn(
    mlm, busy_week, monkeypatch, by: str, columns: int
):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = mlm("stats", "--by", by).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert {by.upper(), "REQUESTS", "OK"} <= set(lines[0].split())
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("by", ["model", "key", "day", "hour"])
def test_every_view_fits_80_columns(mlm, home: Path, by: str):
    recorder = Recorder(home / "stats.sqlite")
    for i in range(12):
        name = f"org/a-model-with-a-long-name-{i}:Q4_K_M"
        recorder.note(request(finished_at=time.time(), model=name, tenant=name[::-1]))
    recorder.close()
    table = mlm("stats", "--by", by).stdout
    assert max(len(line) for line in table.splitlines()) <= 80


def test_without_unicode_the_charts_are_plain(busy_week, tmp_path: Path, home: Path):
    command = [sys.executable, "-m", "mlm", "--home", str(home), "stats", "--by", "day"]
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environ, check=True)
    assert b"#########" in done.stdout


def test_a_history_that_cannot_be_read_is_a_conflict(mlm, home: Path):
    (home / "stats.sqlite").mkdir(parents=True)
    result = mlm("stats")
    assert result.exit_code == ExitCode.CONFLICT
    assert "stats.sqlite cannot be read" in result.stderr


def test_a_cache_that_cannot_be_read_is_a_conflict(mlm, home: Path):
    (home / "responses.sqlite").mkdir(parents=True)
    assert mlm("cache", "stats").exit_code == ExitCode.CONFLICT


def test_an_empty_chart_is_no_chart(mlm, home: Path):
    recorder = Recorder(home / "stats.sqlite")
    recorder.note(LoadStats(time.time(), "tiny", True, 1.5, 10, 11))
    recorder.close()
    table = mlm("stats").stdout
    assert "tiny" in table and "requests from" not in table


def test_by_hour_the_quiet_hours_are_shown_too(mlm, home: Path):
    noon = time.mktime((*time.localtime(time.time() - 86400)[:3], 12, 30, 0, 0, 0, -1))
    recorder = Recorder(home / "stats.sqlite")
    for hours, n in ((0, 1), (3, 4)):
        for _ in range(n):
            recorder.note(request(finished_at=noon + hours * 3600))
    recorder.close()
    document = mlm("stats", "--by", "hour", "--json").json
    assert [(row["hour"][11:], row["requests"]) for row in document["hours"]] == [
        ("12:00", 1),
        ("15:00", 4),
    ]
    lines = mlm("stats", "--by", "hour").stdout.splitlines()[1:5]
    assert [line[11:16] for line in lines] == ["12:00", "13:00", "14:00", "15:00"]
    assert ["█" in line for line in lines] == [True, False, False, True]


def test_since_may_be_a_date(mlm, history):
    today = time.strftime("%Y-%m-%d", time.localtime(time.time() - 86400))
    document = mlm("stats", "--since", today, "--json").json
    assert [model["model"] for model in document["models"]] == ["tiny"]
    assert document["since"] == time.mktime(time.strptime(today, "%Y-%m-%d"))
    assert mlm("stats", "--since", f"{today}T00:30", "--json").json["since"] % 3600 == 1800
    tomorrow = time.strftime("%Y-%m-%d", time.localtime(time.time() + 2 * 86400))
    assert "has not come yet" in mlm("stats", "--since", tomorrow).stderr


def test_the_percentiles_have_a_table(mlm, history):
    lines = mlm("stats").stdout.splitlines()
    (head,) = [n for n, line in enumerate(lines) if line.startswith("ms p50/p95/p99")]
    assert lines[head].split()[-3:] == ["TTFT", "ITL", "E2E"]
    assert [cell.count("/") for cell in lines[head + 1].split()] == [0, 2, 2, 2]


def test_an_empty_history_says_what_to_do(mlm, history, tmp_path: Path):
    assert "hint: mlm serve REF" in mlm("--home", tmp_path / "new", "stats").stderr
    nothing = mlm("stats", "--since", "0s")
    assert nothing.stdout.startswith("no requests since ")
    assert "hint: all that there is: mlm stats" in nothing.stderr
