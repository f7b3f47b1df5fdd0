"""``mlm engine``: what is installed, whether it works, and how to get another."""

import sys
from pathlib import Path

import pytest

from mlm.engine.build import BrokenEngine
from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an engine in front that does not load."""
    (tmp_path / "llama_cpp.py").write_text("raise ImportError('libcuda.so.1: no such file')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")


def test_the_installed_engine_is_described(mlm):
    shown = mlm("engine", "list")
    assert shown.exit_code == ExitCode.OK
    assert max(map(len, shown.stdout.splitlines())) <= 80 or "site-packages" in shown.stdout
    assert "llama-cpp-python" in shown.stdout and "FOR THIS MACHINE" in shown.stdout
    document = mlm("engine", "list", "--json").json
    assert document["schema"] == "mlm.engine.list/1"
    assert "cpu" in document["installed"]["backends"]
    assert document["problem"] is None
    assert "cpu" in {recipe["backend"] for recipe in document["available"]}


def test_a_broken_engine_is_listed_with_what_is_wrong(mlm, broken):
    document = mlm("engine", "list", "--json").json
    assert document["installed"] is None
    assert "libcuda.so.1" in document["problem"]
    assert "mlm engine install" in mlm("engine", "list").stdout


def test_a_sound_engine_passes_its_check(mlm):
    done = mlm("engine", "check", "--json")
    assert done.exit_code == ExitCode.OK
    names = {check["name"]: check["status"] for check in done.json["checks"]}
    assert (names["load"], names["answer"]) == ("ok", "ok")
    assert done.json["ok"] is True


def test_a_broken_engine_fails_with_the_way_out(mlm, broken):
    done = mlm("engine", "check")
    assert done.exit_code == ExitCode.ENGINE
    assert "does not load: ImportError: libcuda.so.1" in done.stderr
    assert "hint: mlm engine install" in done.stderr


def test_an_engine_that_answers_wrongly_fails(mlm, monkeypatch):
    from dataclasses import replace

    from mlm.demo import question

    wrong = replace(question.DEMO_QUESTION, expected="something else")
    monkeypatch.setattr(question, "DEMO_QUESTION", wrong)
    done = mlm("engine", "check")
    assert done.exit_code == ExitCode.ENGINE
    assert "fail  answer" in done.stdout and "fix: mlm engine install" in done.stdout


def test_the_command_to_paste_is_printed_and_nothing_is_done(mlm, home: Path):
    done = mlm("engine", "install", "--print", "--backend", "cpu")
    (line,) = done.stdout.splitlines()
    assert "CMAKE_ARGS='" in line and "llama-cpp-python" in line
    assert sys.executable in line or "uv pip install" in line
    assert not (home / "logs").exists()
    document = mlm("engine", "install", "--print", "--backend", "vulkan", "--json").json
    assert (document["backend"], document["build"]) == ("vulkan", None)
    assert "-DGGML_VULKAN=ON" in document["cmake_args"]


def test_nobody_waits_for_minutes_without_having_agreed(mlm):
    done = mlm("engine", "install", "--backend", "cpu")
    assert done.exit_code == ExitCode.USAGE
    assert "--yes" in done.stderr


def test_offline_nothing_can_be_built(mlm):
    done = mlm("--offline", "engine", "install", "--backend", "cpu", "--yes")
    assert done.exit_code == ExitCode.NETWORK


def test_what_is_missing_is_named_first(mlm, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    done = mlm("engine", "install", "--backend", "cpu", "--yes")
    assert done.exit_code == ExitCode.ENGINE
    assert "without a C++ compiler" in done.stderr
    assert BrokenEngine.exit_code == ExitCode.ENGINE


def test_an_unknown_back_end_is_refused(mlm):
    assert mlm("engine", "install", "--backend", "tpu").exit_code == ExitCode.USAGE
