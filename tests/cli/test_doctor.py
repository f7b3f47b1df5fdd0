"""``mlm doctor`` finds what is wrong and names the fix."""

import os
import sys
from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer

from mlm.cli.doctor._disk import check_databases, check_folders, judge_room
from mlm.cli.doctor._engine import check_engine
from mlm.cli.doctor._finding import Check, Finding, examine
from mlm.cli.doctor._knowledge import check_catalog, check_configs
from mlm.cli.doctor._network import check_hub, check_servers
from mlm.errors import ExitCode
from mlm.settings import Settings
from mlm.units import GIB


def look(check: Check) -> list[Finding]:
    """Return what one check finds, offline."""
    return list(examine(check, Settings.from_environment(offline=True)))


def test_a_sound_installation_passes(mlm, openai_server: OpenAIServer, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", openai_server.url)
    result = mlm("doctor")
    assert result.exit_code == ExitCode.OK
    names = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("ok")]
    assert names == [
        "engine", "gpu", "home", "models", "databases", "store", "catalog", "configs",
        "predicted", "servers", "hub",
    ]  # fmt: skip
    assert "llama-cpp-python" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_hub_that_cannot_be_reached_fails_with_the_networks_code(mlm):
    result = mlm("doctor", "--json")
    assert result.exit_code == ExitCode.NETWORK
    assert result.json["checks"][-1]["name"] == "hub"
    assert "mlm --offline" in result.json["checks"][-1]["fix"]


def test_a_hub_in_trouble_is_told_from_one_that_is_there(openai_server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", openai_server.url)
    openai_server.is_healthy = False
    (hub,) = examine(check_hub, Settings.from_environment())
    assert hub.exit_code == ExitCode.NETWORK
    assert "answers 503" in hub.detail


def test_offline_nobody_is_asked(openai_server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", openai_server.url)
    assert look(check_hub) == [Finding("hub", "ok", "not asked: offline")]
    assert openai_server.asked == []


def test_without_the_engine_the_one_command_to_get_it_is_named(mlm, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    result = mlm("--offline", "doctor", "--json")
    assert result.exit_code == ExitCode.ENGINE
    assert result.json["ok"] is False
    assert result.json["checks"][0]["status"] == "fail"
    assert result.json["checks"][0]["fix"] == "mlm engine install"


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("raise ImportError('libcuda.so.1: no such file')", "libcuda.so.1: no such file"),
        ("import os; os.abort()", "SIGABRT"),
    ],
)
def test_an_engine_that_does_not_load_is_not_believed(tmp_path: Path, monkeypatch, module, why):
    (tmp_path / "llama_cpp.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (engine,) = look(check_engine)
    assert engine.exit_code == ExitCode.ENGINE
    assert why in engine.detail


def test_room_is_judged_by_what_it_is_for(tmp_path: Path):
    assert judge_room("models", tmp_path, 20 * GIB).status == "ok"
    assert judge_room("models", tmp_path, 5 * GIB).status == "warn"
    assert judge_room("home", tmp_path, 5 * GIB).status == "ok"
    assert judge_room("home", tmp_path, GIB // 2).exit_code == ExitCode.DISK_SPACE


def test_a_home_that_is_a_file_is_named(home: Path):
    home.touch()
    folder = look(check_folders)[0]
    assert folder.status == "fail"
    assert str(folder.fix).startswith("export MLM_HOME=")


def test_a_damaged_database_is_a_warning(home: Path):
    home.mkdir()
    (home / "stats.sqlite").write_bytes(b"not a database" * 100)
    (databases,) = look(check_databases)
    assert databases.status == "warn"
    assert "stats.sqlite" in databases.detail


def test_a_broken_catalog_of_ones_own_is_named(home: Path):
    (home / "catalog").mkdir(parents=True)
    (home / "catalog" / "mine.yaml").write_text("family: [")
    (catalog,) = look(check_catalog)
    assert catalog.exit_code == ExitCode.USAGE
    assert "mine.yaml" in catalog.detail


def test_each_broken_config_is_named(home: Path):
    (home / "config").mkdir(parents=True)
    for name in ("one", "two"):
        (home / "config" / f"{name}.yaml").write_text("n_ctx: lots")
    one, two = look(check_configs)
    assert (one.status, two.status) == ("fail", "fail")
    assert "one.yaml" in one.detail
    assert "two.yaml" in two.detail


def test_running_servers_are_asked(openai_server, home: Path):
    openai_server.announce(home)
    (server,) = look(check_servers)
    assert server.detail == f"{openai_server.url} serves tiny"


def test_a_server_that_does_not_answer_fails(openai_server, home: Path):
    openai_server.url = "http://127.0.0.1:9"
    openai_server.announce(home)
    (server,) = look(check_servers)
    assert server.exit_code == ExitCode.NETWORK
    assert "nobody listens there" in server.detail
