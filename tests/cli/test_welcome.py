"""``mlm`` alone: a greeting that fits the machine and what is on it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.fake_server import serving
from fakes.typed import parses
from fakes.typed_terminal import typed

from mlm.cli._welcome import Found, choose_steps
from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")


def steps_in(text: str) -> list[str]:
    """Return the commands that a greeting proposes."""
    lines = [line for line in text.splitlines() if line.startswith("  mlm ")]
    return [line.strip().split("  ")[0] for line in lines]


def words_of(text: str) -> list[str]:
    """Return the words, without figures: free memory differs from one moment to the next."""
    return re.sub(r"[\d.]+", "", text).split()


def test_on_a_new_machine_it_names_the_best_model_and_three_commands(mlm, monkeypatch):
    monkeypatch.setenv("MLM_OFFLINE", "1")
    result = mlm()
    assert result.exit_code == ExitCode.OK
    best = mlm("recommend", "--top", "1", "--json").json["recommendations"][0]
    label = f"{best['model']}:{best['quant']}"
    assert f"best for it   {label}: " in result.stdout
    assert "tokens/s" in result.stdout and " core" in result.stdout
    assert steps_in(result.stdout) == [
        f"mlm download {label}", f"mlm chat {label}", f"mlm serve {label}",
    ]  # fmt: skip
    assert result.stderr == ""


def test_every_command_that_it_proposes_can_be_typed():
    for best in ("qwen3-8b:Q4_K_M", None):
        for installed in ("/a folder/x.gguf", "phi-2:Q8_0", None):
            for served in ("phi-2", None):
                for serving_now in (True, False):
                    for engine in (True, False):
                        found = Found(best, installed, served, serving_now, engine)
                        steps = choose_steps(found)
                        assert 2 <= len(steps) <= 3
                        assert all(parses(typed) for typed, _ in steps if "TEXT" not in typed)


def test_with_a_model_the_next_step_is_to_talk_to_it(mlm):
    mlm("download", "mlm-demo")
    result = mlm()
    assert "installed     mlm-demo:Q8_0" in result.stdout
    assert steps_in(result.stdout)[0] == "mlm chat mlm-demo:Q8_0"


def test_with_a_server_the_next_step_is_to_use_and_to_see_it(mlm, tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        result = mlm("--home", tmp_path / "home")
        server.stop()
    assert f"running       alpha at {server.url}" in result.stdout
    assert steps_in(result.stdout) == ["mlm chat alpha", "mlm stats --live", "mlm stop"]


def test_a_model_for_vectors_is_not_offered_for_a_talk(mlm, tmp_path: Path):
    with serving(tmp_path, {"nomic-embed-text-v1.5": {}}) as server:
        server.wait_for("Loaded")
        result = mlm("--home", tmp_path / "home")
        server.stop()
    assert steps_in(result.stdout) == ["mlm stats --live", "mlm stop"]


def test_without_the_engine_it_says_how_to_get_it():
    steps = choose_steps(Found("phi-2:Q4_0", None, None, serving=False, has_engine=False))
    assert [typed for typed, _ in steps] == [
        "mlm engine install", "mlm download phi-2:Q4_0", "mlm chat phi-2:Q4_0",
    ]  # fmt: skip


def test_nothing_is_written_but_caches(mlm, home: Path, hub_cache: Path):
    mlm()
    assert {path.name for path in home.iterdir()} == {"cache"}
    assert not hub_cache.exists()


def test_in_a_pipe_it_is_the_same_without_colour():
    done = subprocess.run(
        [sys.executable, "-m", "mlm"], capture_output=True, text=True, check=True,
        env=os.environ | {"NO_COLOR": ""},
    )  # fmt: skip
    with typed(NO_COLOR="") as terminal:
        assert terminal.wait() == ExitCode.OK
        assert b"\x1b[1m" in terminal.raw
        seen = terminal.text
    assert "\x1b" not in done.stdout
    assert words_of(done.stdout) == words_of(seen)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_it_fits_any_width(columns: int):
    with typed(columns=columns, rows=40) as terminal:
        assert terminal.wait() == ExitCode.OK
        assert "mlm --help" in terminal.text.replace("\n", " ")
        assert len(steps_in(terminal.text)) == 3
        for line in terminal.lines:
            assert len(line) <= min(columns, 80)


def test_with_no_color_or_a_dumb_terminal_there_are_no_sequences():
    with typed(NO_COLOR="1") as terminal:
        terminal.wait()
        assert b"\x1b[1m" not in terminal.raw
    with typed(NO_COLOR="", TERM="dumb") as terminal:
        terminal.wait()
        assert b"\x1b" not in terminal.raw


def test_a_broken_catalog_of_the_persons_own_is_told(mlm, home: Path):
    (home / "catalog").mkdir()
    (home / "catalog" / "mine.yaml").write_text("family: [")
    result = mlm()
    assert result.exit_code != ExitCode.OK
    assert "mine.yaml" in result.stderr
