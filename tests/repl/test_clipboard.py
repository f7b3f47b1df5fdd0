"""The clipboard is reached through the terminal, and through the desktop's own program."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desktop whose program keeps the clipboard in a file; there is no terminal."""
    program = tmp_path / "bin" / "wl-copy"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec /bin/cat > "{tmp_path}/clipboard"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return tmp_path / "clipboard"


def run_without_terminal(code: str, **environ: str) -> str:
    """Run code in a session of its own, to which no terminal belongs."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        start_new_session=True,
        env={**os.environ, **environ},
        check=True,
    ).stdout


CODE = """
from mlm.errors import UsageError
from mlm.repl.clipboard import copy
try:
    print(copy("Grüße"))
except UsageError as error:
    print("refused:", error.message)
"""


def test_a_program_of_the_desktop_takes_it(desktop: Path):
    assert run_without_terminal(CODE, WAYLAND_DISPLAY="wayland-0").strip() == "wl-copy"
    assert desktop.read_text() == "Grüße"


def test_over_ssh_no_program_is_asked(desktop: Path):
    shown = run_without_terminal(CODE, WAYLAND_DISPLAY="wayland-0", SSH_CONNECTION="somewhere")
    assert shown.startswith("refused: there is no clipboard")
    assert not desktop.exists()


def test_without_terminal_and_program_it_says_so(tmp_path: Path):
    assert run_without_terminal(CODE, PATH=str(tmp_path)).startswith("refused: there is no")


def test_a_terminal_is_asked_with_osc_52(tmp_path: Path):
    child = pexpect.spawn(
        sys.executable, ["-c", CODE], env={**os.environ, "PATH": str(tmp_path)}, timeout=30
    )
    child.expect(pexpect.EOF)
    child.close()
    encoded = base64.b64encode("Grüße".encode())
    assert b"\x1b]52;c;" + encoded + b"\x07" in child.before


def test_what_no_terminal_takes_is_not_sent_to_it(tmp_path: Path):
    shown = run_without_terminal(CODE.replace('"Grüße"', '"x" * 100_000'), PATH=str(tmp_path))
    assert shown.startswith("refused")
