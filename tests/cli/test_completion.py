"""Shells learn mlm's words from a script; the words themselves come from the running mlm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import gguf_files

from mlm.cli.app import COMMANDS


def complete(*words: str) -> list[str]:
    """Return what bash is offered for the last of ``words``."""
    environ = {
        **os.environ,
        "_MLM_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("mlm", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mlm"], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_a_tab_offers_the_commands():
    assert complete("") == [module.removesuffix("_") for module in COMMANDS]


def test_a_tab_completes_what_was_begun():
    assert complete("comple") == ["completion"]


def test_a_tab_offers_the_models_of_the_catalog_and_after_a_colon_their_quantizations():
    assert complete("plan", "qwen3-8") == ["qwen3-8b"]
    assert "qwen3-8b:Q4_K_M" in complete("download", "qwen3-8b:")
    assert complete("plan", "no-such") == []


def test_a_tab_offers_machines_to_plan_for():
    assert complete("recommend", "--hardware", "rtx-409") == [
        "rtx-4090", "rtx-4090-d", "rtx-4090-laptop",
    ]  # fmt: skip
    assert "16gb-laptop" in complete("hardware", "--hardware", "16")


def test_a_tab_offers_only_installed_models_where_others_would_not_do(mlm, tmp_path: Path):
    (tmp_path / "qwen-mine.gguf").write_bytes(gguf_files.llama().encode())
    assert complete("run", "qwen") == []
    assert mlm("import", tmp_path / "qwen-mine.gguf").exit_code == 0
    for command in ("run", "chat", "serve", "bench", "show", "verify", "rm"):
        assert complete(command, "qwen") == ["qwen-mine"]
    assert {"qwen-mine", "qwen3-8b"} <= set(complete("plan", "qwen"))


def test_a_tab_never_shows_what_could_command_the_terminal(mlm, tmp_path: Path):
    path = tmp_path / "evil\x1b[2J.gguf"
    path.write_bytes(gguf_files.llama().encode())
    assert mlm("import", path).exit_code == 0
    assert complete("run", "evil") == []


def test_a_broken_catalog_does_not_disturb_the_person_who_types(home: Path):
    home.joinpath("catalog").mkdir(parents=True)
    home.joinpath("catalog", "broken.yaml").write_text("[")
    assert complete("plan", "qwen3-8") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_there_is_a_script_for_every_shell(mlm, shell: str):
    result = mlm("completion", shell)
    assert result.exit_code == 0
    assert "_MLM_COMPLETE" in result.stdout


def test_bash_accepts_the_script(mlm):
    script = mlm("completion", "bash").stdout + "\ncomplete -p mlm"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "_mlm_completion" in done.stdout
