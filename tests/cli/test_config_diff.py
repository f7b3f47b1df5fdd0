"""``mlm config diff``: what was edited by hand, or follows from a machine that has changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import gguf_files as g

from mlm.errors import ExitCode
from mlm.hardware import cached

pytestmark = pytest.mark.usefixtures("warm_home")
Edit = Callable[[str, str], None]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return g.llama().write(tmp_path / "small.gguf")


@pytest.fixture
def config(home: Path) -> Path:
    return home / "config" / "small.yaml"


@pytest.fixture
def edit(config: Path) -> Edit:
    def change(old: str, new: str) -> None:
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))

    return change


def test_what_was_generated_does_not_differ_whatever_was_asked_for(mlm, model: Path):
    asked = ("--profile", "low-resource", "--users", "3", "--ctx", "300", "--type-k", "q4_0")
    mlm("config", "generate", model, *asked)
    result = mlm("config", "diff", model, "--exit-code")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no difference" in result.stderr
    assert mlm("config", "diff", model, "--json").json["changes"] == []


def test_what_was_edited_is_shown_with_the_reasons(mlm, model: Path, config: Path, edit: Edit):
    mlm("config", "generate", model)
    edit("n_batch: 2048", "n_batch: 1024")
    edit("# there is no accelerator", "# 3 of 33 fit on it (1.23 GiB free)")
    result = mlm("config", "diff", model)
    assert result.exit_code == 0
    assert "GiB free" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[:2] == [f"--- {config}", "+++ as it would be generated now"]
    assert [line for line in lines if line.startswith(("-n", "+n"))] == [
        "-n_batch: 1024",
        "+n_batch: 2048",
    ]
    assert mlm("config", "diff", model, "--exit-code").exit_code == ExitCode.GATE_FAILED


def test_as_a_document(mlm, model: Path, edit: Edit):
    mlm("config", "generate", model)
    edit("n_batch: 2048", "n_batch: 1024")
    result = mlm("config", "diff", model, "--json", "--exit-code")
    assert result.exit_code == ExitCode.GATE_FAILED
    assert result.json["schema"] == "mlm.config.diff/1"
    (change,) = result.json["changes"]
    assert (change["key"], change["before"], change["after"]) == ("n_batch", 1024, 2048)
    assert change["reason_after"] == "llama.cpp's own choice: more needs memory and gains little"
    assert "-n_batch: 1024\n+n_batch: 2048\n" in result.json["diff"]


def test_a_reason_alone_is_no_difference(mlm, model: Path, edit: Edit):
    mlm("config", "generate", model)
    edit("# there is no accelerator", "# 3 of 33 fit on it (1.23 GiB free)")
    edit("# llama.cpp's own choice: more needs memory and gains little", "# my favourite")
    assert mlm("config", "diff", model, "--exit-code").exit_code == 0


def test_a_machine_that_has_changed_is_seen(mlm, model: Path, monkeypatch: pytest.MonkeyPatch):
    mlm("config", "generate", model)
    real = cached.survey_hardware

    def with_many_cores(*paths):
        found = real(*paths)
        return replace(found, cpu=replace(found.cpu, usable_cores=24))

    monkeypatch.setattr(cached, "survey_hardware", with_many_cores)
    changes = mlm("config", "diff", model, "--json").json["changes"]
    assert {change["key"]: change["after"] for change in changes} == {
        "n_threads": 24,
        "n_threads_batch": 24,
    }


def test_options_say_what_to_compare_with(mlm, model: Path):
    mlm("config", "generate", model, "--ctx", "300")
    document = mlm("config", "diff", model, "--profile", "production", "--threads", "1", "--json")
    changed = {change["key"] for change in document.json["changes"]}
    assert {"profile", "n_threads", "max_tokens"} <= changed
    assert mlm("config", "diff", model, "--previous", "--threads", "1").exit_code == 2


def test_the_version_before_is_compared_with(mlm, model: Path, config: Path):
    mlm("config", "generate", model, "--threads", "1")
    result = mlm("config", "diff", model, "--previous")
    assert result.exit_code == ExitCode.NOT_FOUND
    mlm("config", "generate", model, "--threads", "2")
    result = mlm("config", "diff", model, "--previous")
    assert result.stdout.splitlines()[1] == f"+++ {config}"
    assert "-n_threads: 1\n+n_threads: 2\n" in result.stdout


def test_without_a_config_there_is_nothing_to_compare(mlm, model: Path):
    result = mlm("config", "diff", model)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert f"hint: mlm config generate {model}" in result.stderr


@pytest.mark.parametrize("command", ["diff", "rollback"])
def test_a_folder_is_no_model(mlm, command: str):
    result = mlm("config", command, "./")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "./ is a folder, not a model" in result.stderr


def test_a_broken_config_is_named_by_line(mlm, model: Path, config: Path, edit: Edit):
    mlm("config", "generate", model)
    edit("n_batch: 2048", "n_batch: many")
    result = mlm("config", "diff", model)
    assert result.exit_code == ExitCode.USAGE
    assert f"{config}:" in result.stderr
