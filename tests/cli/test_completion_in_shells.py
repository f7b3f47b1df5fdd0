"""Tabs pressed in real shells, on a pseudo-terminal; what then would be run is what counts."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
from fakes import gguf_files

from mlm.cli.app import run

SHELLS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "--private", "-i"],
}
# Completes as mlm does, and says what it would have run.
STAND_IN = """#!{python}
import os, sys
sys.path[:] = {path!r}
if os.environ.get("_MLM_COMPLETE"):
    from mlm.__main__ import main
    main()
else:
    print("".join(f"[{{word}}]" for word in ["would", "run", *sys.argv[1:]]) + ".")
"""
MANNERS = {
    "bash": "PS1='ready> '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'\n",
    "zsh": "PROMPT='ready> '; unsetopt promptsp beep\n",
    "fish": "function fish_prompt; printf 'ready> '; end; set -g fish_autosuggestion_enabled 0\n",
}


@dataclass
class Typist:
    """Somebody at a keyboard."""

    terminal: "pexpect.spawn[str]"

    def types(self, keys: str) -> str:
        """Type ``keys`` and return the words of the command that would be run."""
        self.terminal.send(keys + "\r")
        self.terminal.expect(r"\[would\]\[run\](.*)\]\.")
        words = self.terminal.match[1]
        self.terminal.expect("ready> ")
        return words.strip("[").replace("][", " ")

    def sees(self, keys: str, *words: str) -> None:
        """Type ``keys`` and see ``words`` listed, in any order."""
        self.terminal.send(keys)
        left = list(words)
        while left:
            left.pop(self.terminal.expect_exact(left))
        self.terminal.send("\x15\r")
        self.terminal.expect("ready> ")


@pytest.fixture(params=SHELLS)
def typist(request, tmp_path: Path, monkeypatch) -> Iterator[Typist]:
    """A shell that has read the script, in an empty folder."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    program = tmp_path / "bin" / "mlm"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable, path=sys.path))
    program.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    script = tmp_path / f"mlm.{shell}"
    script.write_text(_script(shell))
    environ = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "COLUMNS": "",
        "LC_ALL": "C.UTF-8",
    }
    terminal = pexpect.spawn(
        shell, SHELLS[shell], env=environ, encoding="utf-8", timeout=20, dimensions=(50, 160)
    )
    try:
        terminal.send(MANNERS[shell])
        terminal.send(f"source {script}; printf 'so%s\\n' far\n")
        terminal.expect("sofar")
        terminal.expect("ready> ")
        yield Typist(terminal)
    finally:
        terminal.close(force=True)


def _script(shell: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mlm", "completion", shell],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_commands_options_and_choices_are_completed(typist: Typist):
    assert typist.types("mlm downl\tqwen3-8\t") == "download qwen3-8b"
    assert typist.types("mlm conf\trollb\tx --lis\t") == "config rollback x --list"
    assert typist.types("mlm recommend --use reas\t--mem\t8GB") == (
        "recommend --use reasoning --memory 8GB"
    )
    assert typist.types("mlm recommend --use=reas\t") == "recommend --use=reasoning"


def test_letters_of_several_bytes_before_the_word_do_not_cut_the_line(typist: Typist):
    assert typist.types("mlm sessions search wörter-größe --js\t") == (
        "sessions search wörter-größe --json"
    )


def test_a_quantization_is_completed_after_its_colon(typist: Typist):
    assert typist.types("mlm plan qwen3-8b:Q8\t") == "plan qwen3-8b:Q8_0"
    assert typist.types("mlm plan qwen3-8b:Q8\t--js\t") == "plan qwen3-8b:Q8_0 --json"
    typist.sees("mlm plan qwen3-8b:Q\t\t", "Q4_K_M", "Q8_0")


def test_what_is_possible_is_listed(typist: Typist):
    typist.sees("mlm config \t\t", "generate", "show", "edit", "diff", "rollback", "export")


def test_installed_models_and_files_are_completed(typist: Typist, tmp_path: Path):
    for name in ("mine.gguf", "spaced name.gguf"):
        (tmp_path / name).write_bytes(gguf_files.llama().encode())
        assert run(["import", str(tmp_path / name)]) == 0
    Path("notes.json").write_text("{}")
    Path("folder").mkdir()
    assert typist.types("mlm run mi\t") == "run mine"
    assert typist.types("mlm run spa\t") == "run spaced name"
    assert typist.types("mlm bench mine --compare not\t") == "bench mine --compare notes.json"
    assert typist.types("mlm bench mine --compare=not\t") == "bench mine --compare=notes.json"
    home = typist.types("mlm --home fol\t list")
    assert home.replace("/", "") == "--home folder list"
