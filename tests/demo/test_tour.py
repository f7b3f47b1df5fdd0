"""`mlm demo` from start to end, as a newcomer sees it, and when it is cut short."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from fakes.processes import are_gone, wait_until

from mlm.demo.tour import STEPS, Step, StepFailed, take_tour
from mlm.errors import ExitCode

COMMAND = [sys.executable, "-m", "mlm", "demo"]
WITHOUT_ENGINE = (
    "import sys; sys.modules['llama_cpp'] = None\n"
    "from mlm.cli.app import main; main(['demo'])"
)  # fmt: skip
UNTIL_SERVING = (
    "from mlm.demo.tour import STEPS, Step, take_tour\n"
    "needed = [s for s in STEPS if s.words[0] in ('download', 'serve')]\n"
    "forever = Step('', ('serve', '--port', '0'))\n"
    "take_tour(lambda number, step: None, (*needed, forever))"
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, seen by the tour alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))  # for other processes
    monkeypatch.setattr(tempfile, "tempdir", str(folder))  # for this one
    return folder


def test_the_tour_shows_a_whole_life_and_leaves_nothing_behind(temporary: Path, tmp_path: Path):
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    typed = [line for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert typed == [f"$ {step.typed}" for step in STEPS]
    answered = done.stdout.split('$ mlm run mlm-demo --temperature 0 "What is mlm?"')[1]
    assert "command-line tool" in answered
    assert "\x1b" not in done.stdout + done.stderr
    assert "mlm recommend" in done.stdout.split("That was all of it")[1]
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "mlm-home").exists() and not (tmp_path / "hf-home").exists()


def test_without_the_engine_the_tour_goes_as_far_as_it_can_and_names_the_way_on(temporary: Path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ENGINE], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == ExitCode.ENGINE
    assert "$ mlm config show mlm-demo" in done.stdout and "$ mlm serve" not in done.stdout
    assert "hint: mlm engine install" in done.stderr
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_tour_cut_short_stops_its_server_and_removes_its_house(
    signal_number: int, temporary: Path
):
    with subprocess.Popen(
        [sys.executable, "-c", UNTIL_SERVING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as tour:
        assert tour.stdout is not None
        assert any(b"Ready" in line for line in tour.stdout)
        started = psutil.Process(tour.pid).children(recursive=True)
        tour.send_signal(signal_number)
        tour.communicate()
    assert started
    wait_until(lambda: are_gone(started))  # a sandbox ends when its worker has
    assert list(temporary.iterdir()) == []


def test_a_failing_step_ends_the_tour_with_its_name_and_exit_code(temporary: Path, capfd):
    announced = []
    steps = (Step("", ("list",)), Step("", ("show", "no-such-model")), Step("", ("list",)))
    with pytest.raises(StepFailed) as failure:
        take_tour(lambda number, step: announced.append(number), steps)
    assert failure.value.exit_code == ExitCode.NOT_FOUND
    assert "step 2" in failure.value.message and "mlm show no-such-model" in failure.value.message
    assert announced == [1, 2]
    assert "no-such-model" in capfd.readouterr().err
    assert list(temporary.iterdir()) == []


def test_the_tour_hides_the_users_own_settings(temporary: Path, monkeypatch, capfd):
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    monkeypatch.setenv("MLM_DEBUG", "perhaps")
    take_tour(lambda number, step: None, (Step("", ("download", "mlm-demo", "--json")),))
    assert f'"path": "{temporary}{os.sep}mlm-demo-' in capfd.readouterr().out
