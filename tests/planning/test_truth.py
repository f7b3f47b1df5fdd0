"""The arithmetic agrees with what the real llama.cpp says it allocates."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import dry_run
from fakes.real_shapes import SHAPES, write_hole

from mlm.cli._machine import without_unusable_amx
from mlm.gguf.reader import read_metadata
from mlm.hardware.detect import survey_hardware
from mlm.planning.memory import plan_memory
from mlm.planning.shape import shape_from_metadata
from mlm.planning.types import DevicePlan, RuntimeConfig
from mlm.units import MIB

ROOT = Path(__file__).parents[2]
PARTS = ("weights", "repack", "kv_cache", "compute", "output")
SETTINGS: list[dict[str, Any]] = [
    {"n_ctx": 4096, "n_parallel": 1},
    {"n_ctx": 32_768, "n_parallel": 4, "n_ubatch": 256},
    {"n_ctx": 8192, "n_parallel": 1, "flash_attn": "off"},
    {"n_ctx": 8192, "n_parallel": 2, "type_k": "q8_0", "type_v": "q8_0"},
]


def planned(path: Path, settings: dict[str, Any]) -> DevicePlan:
    shape = shape_from_metadata(read_metadata(path))
    machine = without_unusable_amx(survey_hardware())
    fields = {"n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 0, "n_threads": 1, **settings}
    config = RuntimeConfig(n_threads_batch=1, embedding=shape.is_encoder, **fields)
    plan = plan_memory(shape, config, machine)
    assert plan.grade == "computed"
    return plan.devices[0]


def measured(path: Path, settings: dict[str, Any], **more: Any) -> list[Any]:
    """Return one run of the dry run: the same parameters, in llama.cpp's words."""
    wishes = {"n_batch": 2048, "n_ubatch": 512, **settings, **more}
    slots = wishes.pop("n_parallel")
    return [str(path), {**wishes, "n_seq_max": slots, "n_outputs_max": slots}]


def ask_llama_cpp(runs: list[Any]) -> list[dict[str, float]]:
    done = subprocess.run(
        [sys.executable, dry_run.__file__, json.dumps(runs)],
        env={**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SHAPES)
def test_contexts_are_as_large_as_planned(tmp_path: Path, name: str):
    path = write_hole(name, tmp_path)
    settings = [{"n_ctx": 512, "n_parallel": 1, "n_batch": 512}] if name == "bert" else SETTINGS
    results = ask_llama_cpp([measured(path, each) for each in settings])
    for each, real in zip(settings, results, strict=True):
        plan = planned(path, each)
        assert plan.kv_cache / MIB == pytest.approx(real["kv_cache"], abs=0.1), each
        assert plan.output / MIB == pytest.approx(real["output"], abs=0.01), each
        assert plan.compute / MIB == pytest.approx(real["compute"], rel=0.1, abs=1), each
        weights = plan.weights + plan.repack
        context = plan.kv_cache + plan.compute + plan.output
        whole = weights / MIB + sum(real[part] for part in ("kv_cache", "compute", "output"))
        assert (weights + context) / MIB == pytest.approx(whole, rel=0.02), each


@pytest.mark.slow
def test_weights_and_their_second_copies_are_as_large_as_planned(tmp_path: Path):
    path = write_hole("qwen2", tmp_path)
    (real,) = ask_llama_cpp([measured(path, SETTINGS[0], real=True)])
    plan = planned(path, SETTINGS[0])
    for part in PARTS:
        assert getattr(plan, part) / MIB == pytest.approx(real[part], rel=0.01, abs=0.1), part
