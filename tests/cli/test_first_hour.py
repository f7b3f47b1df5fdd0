"""The tutorial is lived command by command, with the model that comes with mlm."""

import re
import shlex
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "first-hour.md"
# Others need a terminal, a compiler, or a server; they have tests of their own.
ELSEWHERE = ("chat", "run", "serve", "ps", "bench", "stats", "stop", "completion")


def typed() -> list[list[str]]:
    """Return the words of every command of the tutorial, in its order."""
    blocks = re.findall(r"```\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("mlm ")]
    # Nobody is recommended the small model: it is not explained, either.
    mine = [x if "--explain" in x else x.replace("qwen3-8b", "mlm-demo") for x in lines]
    return [shlex.split(line, comments=True)[1:] for line in mine]


@pytest.mark.slow
def test_every_command_of_the_first_hour_works(mlm, warm_home, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [words for words in typed() if words[0] not in ELSEWHERE]
    assert len(commands) > 12
    for words in commands:
        before = ["--offline"] if words[0] == "doctor" else []  # it would ask the hub
        result = mlm(*before, *words, *(["--yes"] if words[0] == "rm" else []))
        assert result.exit_code == 0, (words, result.stderr)
    assert "mlm-demo" not in mlm("list").stdout
