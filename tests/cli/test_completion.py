"""Shells learn mlm's words from a script; the words themselves come from the running mlm."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_there_is_a_script_for_every_shell(mlm, shell: str):
    result = mlm("completion", shell)
    assert result.exit_code == 0
    assert "_MLM_COMPLETE" in result.stdout


def test_bash_accepts_the_script(mlm):
    script = mlm("completion", "bash").stdout + "\ncomplete -p mlm"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "_mlm_completion" in done.stdout
