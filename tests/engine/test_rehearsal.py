"""What loading would take, asked of the real llama.cpp in a process that may die."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from fakes.processes import are_gone, wait_until
from fakes.real_shapes import write_hole
from fakes.real_worker import CONFIG

from mlm.engine import rehearsal
from mlm.engine.messages import WorkerConfig
from mlm.engine.rehearsal import RehearsalFailed, rehearse_load
from mlm.units import MIB

TinyModel = Callable[[str], Path]


def config(**changes: object) -> WorkerConfig:
    return msgspec.structs.replace(CONFIG, **changes)


def test_llama_cpp_tells_what_a_context_would_take_of_a_file_without_weights(tmp_path: Path):
    path = write_hole("qwen2", tmp_path)
    found = rehearse_load(path, config(n_ctx=4096, n_parallel=1, n_batch=512, n_ubatch=512))
    assert found.kv_cache == 24 * 4096 * 2 * 128 * 2
    assert found.output == pytest.approx(151_936 * 4, rel=0.01)
    assert list(found.compute) == ["CPU"]
    assert 20 * MIB < found.compute["CPU"] < 60 * MIB


def test_it_hears_the_very_parameters_of_a_worker(tiny_model: TinyModel):
    path = tiny_model("llama")
    plain = rehearse_load(path, config())
    wide = rehearse_load(path, config(n_ctx=4096, type_k="f32", type_v="f32", flash_attn="off"))
    assert wide.kv_cache == 4 * plain.kv_cache
    assert wide.output == plain.output
    assert wide.compute["CPU"] > plain.compute["CPU"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type_v": "q99"}, "no KV cache type 'q99'"),
        ({"type_v": "q4_0", "flash_attn": "off"}, "V cache requires flash_attn"),
        ({"n_batch": 2}, "at least the number of slots"),
    ],
)
def test_a_config_that_would_not_load_is_refused_with_the_reason(
    changes: dict[str, object], reason: str, tiny_model: TinyModel
):
    with pytest.raises(RehearsalFailed, match=reason):
        rehearse_load(tiny_model("llama"), config(**changes))


def test_a_cut_off_file_is_refused(tiny_model: TinyModel, tmp_path: Path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_model("llama").read_bytes()[:5000])
    with pytest.raises(RehearsalFailed, match="refuses it"):
        rehearse_load(path, config())


def test_state_that_would_fill_the_memory_is_refused(tmp_path: Path):
    """Of recurrent state llama.cpp takes the real thing even when it only rehearses."""
    path = write_hole("mamba", tmp_path)
    with pytest.raises(RehearsalFailed, match="insufficient memory"):
        rehearse_load(path, config(n_ctx=65_536, n_parallel=256))


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the process do something else, as a header might make llama.cpp do."""

    def set_program(program: str) -> None:
        start = "from mlm.engine.rehearse import _limit_resources; _limit_resources()\n"
        monkeypatch.setattr(rehearsal, "_COMMAND", (sys.executable, "-c", start + program))

    return set_program


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", "killed by SIGABRT"),
        ("import time; time.sleep(600)", "more than 0.5 s"),
        ("b = bytearray(3 * 1024**3)", "exit code 1"),
        ('print(\'{"kv_cache": "many"}\')', "no answer"),
        ("pass", "no answer"),
    ],
)
def test_a_header_that_kills_the_process_kills_nothing_else(
    program: str, reason: str, hostile: Callable[[str], None], tmp_path: Path
):
    hostile(program)
    limit = 0.5 if "sleep" in program else 30
    with pytest.raises(RehearsalFailed, match=reason):
        rehearse_load(tmp_path / "x.gguf", config(), time_limit_s=limit)


@pytest.fixture
def planner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """A process that rehearses a load which never ends, and the number of its child."""
    told = tmp_path / "told"
    os.mkfifo(told)
    child = (
        "from mlm.engine.hygiene import settle_in; settle_in()\n"
        f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    program = (
        "import sys\nfrom pathlib import Path\nfrom mlm.engine import rehearsal\n"
        "from mlm.engine.messages import WorkerConfig\n"
        f"rehearsal._COMMAND = (sys.executable, '-c', {child!r})\n"
        "rehearsal.rehearse_load(Path('x'), WorkerConfig(512, 1, 512, 512, 0, 1, 1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    yield process, psutil.Process(int(told.read_text()))
    process.kill()
    process.wait()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_the_child_ends_with_the_one_who_asked(
    name: str, planner: tuple[subprocess.Popen[bytes], psutil.Process]
):
    process, child = planner
    process.send_signal(getattr(signal, name))
    process.wait(timeout=30)
    wait_until(lambda: are_gone([child]))
