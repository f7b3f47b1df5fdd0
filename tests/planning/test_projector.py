"""What a projector takes, and what planning makes of it."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.facts import entry, gpu, machine, quant

from mlm.gguf.projector import ProjectorMetadata
from mlm.planning.memory import plan_memory
from mlm.planning.overrides import Overrides
from mlm.planning.projector import encoder_bytes, most_patches, projector_from_header
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog
from mlm.planning.types import ContextBuffers, MemoryPlan, ModelShape, Projector
from mlm.units import GIB, MIB

EYES = Projector(weights=GIB, compute=GIB // 4, is_known=True)
SIGLIP = {"n_embd": 1152, "n_ff": 4304, "patch_size": 14}
QWEN2 = {"n_embd": 1280, "n_ff": 5120, "has_places": False}
PIXTRAL = {"n_embd": 1024, "n_ff": 4096, "is_gated": True, "has_places": False}


def header(kind: str, **keys: Any) -> ProjectorMetadata:
    """Return what a published projector says of itself; of their 12 to 32 layers each is alike."""
    usual = {
        "n_embd": 1024, "n_ff": 4096, "widths_out": {2048}, "image_size": 448, "patch_size": 14,
        "n_merge": 2, "max_pixels": 0, "is_gated": False, "has_places": True, "n_deepstack": 0,
        "n_bytes": GIB,
    }  # fmt: skip
    return ProjectorMetadata(kind=kind, **{**usual, **keys})


# Patches of the picture for which llama.cpp of llama-cpp-python 0.3.36 reserved so many MiB
# ("clip … compute buffer size") when it loaded a projector of this shape, on a CPU.
MEASURED = {
    "gemma-3": (header("gemma3", **SIGLIP), 64**2, 121.25),
    "smolvlm-500m": (header("idefics3", n_embd=768, n_ff=3072), 32**2, 21.0),
    "smolvlm2-2.2b": (header("idefics3", **SIGLIP), 27**2, 21.58),
    "lfm2-vl-1.6b": (header("lfm2", **SIGLIP | {"patch_size": 16}), 32**2, 30.31),
    "qwen2-vl": (header("qwen2vl_merger", **QWEN2), 92**2, 267.08),
    "qwen2.5-vl": (
        header("qwen2.5vl_merger", **QWEN2 | {"n_ff": 3420, "is_gated": True}), 92**2, 704.79,
    ),
    "qwen3-vl-2b": (
        header("qwen3vl_merger", n_embd=1024, n_ff=4096, patch_size=16, n_deepstack=3),
        92**2, 322.49,
    ),
    "llava-1.5": (
        header("mlp", n_embd=1024, n_ff=4096, widths_out={4096}), 24**2, 23.8,
    ),
    "internvl-300m": (header("internvl", n_embd=1024, n_ff=4096), 32**2, 24.02),
    "pixtral-12b": (header("pixtral", **PIXTRAL, patch_size=16), 16**2, 16.56),
    "mistral-small": (header("pixtral", **PIXTRAL), 32**2, 64.62),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_the_buffer_of_the_encoder_is_what_llama_cpp_reserves(name: str):
    found, n_patches, reserved = MEASURED[name]
    assert encoder_bytes(found, n_patches) / MIB == pytest.approx(reserved, rel=0.17)


@pytest.mark.parametrize(
    ("found", "n_patches"),
    [
        (header("gemma3", image_size=896), 64**2),  # always as many
        (header("idefics3", image_size=512, patch_size=16), 32**2),  # each piece
        (header("qwen2vl_merger"), 4 * 4096),
        (header("qwen3vl_merger", patch_size=16), 4_000_000 // 256),  # mlm sends no larger ones
        (header("pixtral", n_merge=0, patch_size=16), 1024),
        (header("dots_ocr", max_pixels=196_000), 1000),
        (header("odd", patch_size=0, image_size=0), 0),
    ],
)
def test_the_largest_picture_counts(found: ProjectorMetadata, n_patches: int):
    assert most_patches(found) == n_patches


def llama_8b() -> ModelShape:
    return replace(shape_from_catalog(entry(), quant()), grade="computed", notes=())


def plan(shape: ModelShape, hardware: Any, **config: Any) -> MemoryPlan:
    planned = plan_runtime(replace(shape, projector=None), hardware, Overrides(n_gpu_layers=0))
    return plan_memory(shape, replace(planned, **config), hardware)


def added(hardware: Any, **config: Any) -> dict[str, int]:
    """Return how much more each device holds with a projector."""
    before = {p.device: p.total for p in plan(llama_8b(), hardware, **config).devices}
    after = plan(replace(llama_8b(), projector=EYES), hardware, **config).devices
    return {p.device: p.total - before.get(p.device, 0) for p in after}


def test_it_is_where_llama_cpp_puts_it():
    both = EYES.weights + EYES.compute
    assert added(machine(32)) == {"cpu": both}
    assert added(machine(32, gpu(24))) == {"cpu": both}  # no layer is on the card
    assert added(machine(32, gpu(24)), n_gpu_layers=33) == {"cpu": 0, "cuda0": both}


def test_the_first_card_holds_it_even_if_it_holds_nothing_else():
    held = added(machine(32, gpu(0), gpu(48)), n_gpu_layers=1)
    assert held["cuda1"] == 0
    assert held["cuda0"] > EYES.weights + EYES.compute  # and what CUDA takes there


def test_it_is_said_what_is_counted():
    seen = plan(replace(llama_8b(), projector=EYES), machine(32))
    assert any("projector of 1.00 GiB, counted in" in reason for reason in seen.reasons)
    left_out = plan(replace(llama_8b(), projector=EYES), machine(32), vision=False)
    assert left_out.devices == plan(llama_8b(), machine(32)).devices
    assert any("it takes no pictures" in reason for reason in left_out.reasons)


def test_where_only_the_size_of_its_file_is_known_the_plan_is_an_estimate():
    guessed = replace(EYES, is_known=False)
    assert plan(replace(llama_8b(), projector=EYES), machine(32)).grade == "computed"
    assert plan(replace(llama_8b(), projector=guessed), machine(32)).grade == "estimated"


def test_what_llama_cpp_told_of_the_model_alone_makes_no_exact_plan_with_a_projector():
    told = ContextBuffers(kv_cache=GIB, compute={"CPU": 100 * MIB}, output=MIB)
    config = plan_runtime(llama_8b(), machine(32), Overrides())
    alone = plan_memory(llama_8b(), config, machine(32), told)
    seen = plan_memory(replace(llama_8b(), projector=EYES), config, machine(32), told)
    assert (alone.grade, seen.grade) == ("exact", "computed")
    assert seen.total - alone.total == EYES.weights + EYES.compute


def test_a_projector_for_which_there_is_no_room_is_left_out_and_that_is_the_reason():
    shape = replace(llama_8b(), projector=replace(EYES, weights=3 * GIB))
    roomy, narrow = (plan_runtime(shape, machine(size), Overrides()) for size in (32, 7))
    assert roomy.vision and "takes pictures" in roomy.reasons["vision"]
    assert not narrow.vision and "no room for its projector" in narrow.reasons["vision"]
    assert plan_memory(shape, narrow, machine(7)).verdict == "fits"


def test_without_any_room_the_plan_says_what_all_of_it_would_need():
    shape = replace(llama_8b(), projector=EYES)
    config = plan_runtime(shape, machine(1), Overrides())
    assert config.vision
    assert plan_memory(shape, config, machine(1)).verdict == "does_not_fit"


def test_a_header_makes_a_projector_of_known_size():
    found = header("gemma3", **SIGLIP, image_size=896)
    known = projector_from_header(found)
    assert (known.weights, known.is_known) == (GIB, True)
    assert known.compute == encoder_bytes(found, 64**2)
