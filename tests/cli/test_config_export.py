"""``mlm config export``: a file that the other program takes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fakes import gguf_files as g
from fakes.other_programs import read_modelfile, read_preset, read_unit, split_unit_words

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")
TARGETS = ["llama-server", "llama-server-ini", "ollama", "systemd"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / 'größe "5" 100% $x'
    folder.mkdir()
    return g.llama().write(folder / "small model.gguf")


@pytest.fixture
def config(mlm, home: Path, model: Path) -> Path:
    mlm("config", "generate", model, "--ctx", "256", "--parallel", "2")
    return home / "config" / "small model.yaml"


def test_each_target_names_the_file_and_the_settings(mlm, config: Path, model: Path):
    source, parameters = read_modelfile(mlm("config", "export", model, "--to", "ollama").stdout)
    assert (source, parameters["num_ctx"]) == (str(model), "256")
    preset = read_preset(mlm("config", "export", model, "--to", "llama-server-ini").stdout)
    assert preset["small model"]["model"] == str(model)
    assert preset["small model"]["ctx-size"] == "512"
    script = mlm("config", "export", model, "--to", "llama-server").stdout
    assert script.startswith("#!/bin/sh\n")
    assert "  --ctx-size 512 \\\n" in script


def test_a_service_runs_this_mlm_with_this_config(mlm, config: Path, model: Path, home: Path):
    unit = mlm("config", "export", model, "--to", "systemd").stdout
    settings = dict(read_unit(unit))
    words = split_unit_words(settings["ExecStart"])
    assert words[-2:] == ["--", str(model)]
    assert words[words.index("--config") + 1] == str(config)
    assert words[words.index("--home") + 1] == str(home)
    assert settings["User"] == home.owner()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_service(mlm, config: Path, model: Path, tmp_path: Path):
    unit = tmp_path / "small.service"
    result = mlm("config", "export", model, "--to", "systemd", "-o", unit)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"systemd-analyze verify {unit}" in result.stderr
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("target", TARGETS)
def test_as_a_document(mlm, config: Path, model: Path, tmp_path: Path, target: str):
    file = tmp_path / "out"
    document = mlm("config", "export", model, "--to", target, "-o", file, "--json").json
    assert (document["schema"], document["to"]) == ("mlm.config.export/1", target)
    assert document["path"] == str(file)
    assert document["text"] == file.read_text(encoding="utf-8")
    assert bool(document["left_out"]) is (target != "systemd")


def test_a_dash_is_stdout_which_has_either_the_file_or_the_document(mlm, config: Path, model: Path):
    words = ("config", "export", model, "--to", "ollama", "-o", "-")
    assert mlm(*words).stdout == mlm(*words[:-2]).stdout
    assert "wrote" not in mlm(*words).stderr
    assert mlm(*words, "--json").json["path"] is None


def test_without_a_config_it_is_what_would_be_chosen_but_a_service_needs_one(mlm, model: Path):
    result = mlm("config", "export", model, "--to", "ollama")
    assert result.exit_code == 0
    assert "mlm config generate" in result.stderr
    result = mlm("config", "export", model, "--to", "systemd")
    assert result.exit_code == ExitCode.USAGE
    assert f"hint: mlm config generate {model}" in result.stderr


def test_a_model_that_was_never_downloaded_has_no_file_to_name(mlm):
    result = mlm("--offline", "config", "export", "llama-3.2-1b:Q4_K_M", "--to", "ollama")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "mlm download" in result.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--to", "vllm"], "vllm"),
        ([], "--to"),
        (["--to", "ollama", "-o", "/nowhere/at/all"], "cannot write /nowhere/at/all"),
        (["--to", "ollama", "-o", "/"], "/ is a folder"),
    ],
)
def test_what_cannot_be_is_said(mlm, config: Path, model: Path, words: list[str], why: str):
    result = mlm("config", "export", model, *words)
    assert result.exit_code == ExitCode.USAGE
    assert why in result.stderr


def test_a_pipe_is_written_to_and_stays_one(mlm, config: Path, model: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert mlm("config", "export", model, "--to", "ollama", "-o", pipe).exit_code == 0
    assert pipe.is_fifo()
    assert os.read(reading, 100_000).startswith(b"#")
    os.close(reading)


def test_a_broken_config_is_not_exported(mlm, config: Path, model: Path):
    config.write_text("n_ctx: [1, 2")
    for target in TARGETS:
        result = mlm("config", "export", model, "--to", target)
        assert result.exit_code == ExitCode.USAGE
        assert f"{config}:" in result.stderr.replace("\n", "")
