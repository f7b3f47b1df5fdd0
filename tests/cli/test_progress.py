"""The progress block on a real terminal."""

import re
import sys

import pexpect
import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import REPO, TINY

NAME = "a-model-with-a-rather-long-name-Instruct-v0.3.Q4_K_M.gguf"


@pytest.mark.parametrize("columns", [80, 40])
def test_the_block_fits_the_terminal_and_ends_complete(hub: FakeHub, columns: int, monkeypatch):
    hub.add(REPO, File(NAME, TINY))
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setenv("TERM", "xterm")
    command = ["-m", "mlm", "download", f"{REPO}:Q4_K_M"]
    child = pexpect.spawn(sys.executable, command, dimensions=(24, columns), encoding="utf-8")
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 0, child.before
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before)
    lines = [line for line in re.split(r"[\r\n]+", shown) if line]
    assert max(map(len, lines)) <= columns
    assert any("100%" in line and "/s" in line for line in lines)
