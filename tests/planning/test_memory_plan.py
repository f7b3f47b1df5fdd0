"""What a model occupies, wherever its layers are."""

from dataclasses import replace
from typing import Any

import pytest
from fakes import gguf_files as g
from fakes.facts import LLAMA_8B, MIXTRAL, NOMIC, entry, gpu, machine, quant

from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.gguf.reader import read_metadata_from
from mlm.planning.memory import plan_memory
from mlm.planning.repack import repacked_bytes
from mlm.planning.shape import shape_from_catalog, shape_from_metadata
from mlm.planning.speed import predict_speed
from mlm.planning.types import ModelShape, RuntimeConfig, Weight
from mlm.units import GIB, MIB


def config(**fields: Any) -> RuntimeConfig:
    usual = {"n_ctx": 8192, "n_parallel": 1, "n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 0}
    return RuntimeConfig(**{**usual, "n_threads": 8, "n_threads_batch": 8, **fields})


def llama_8b() -> ModelShape:
    return shape_from_catalog(entry(), quant())


def header_shape(made: g.GGUFFile) -> ModelShape:
    return shape_from_metadata(read_metadata_from(g.BytesSource(made.encode())))


def test_an_8b_model_on_a_cpu_needs_file_copy_and_cache():
    plan = plan_memory(llama_8b(), config(), machine(16))
    (cpu,) = plan.devices
    assert plan.grade == "estimated"
    assert cpu.weights == pytest.approx(quant().size_bytes, rel=0.01)
    assert cpu.kv_cache == 32 * 8192 * 2 * 8 * 128 * 2
    assert 0.6 * cpu.weights < cpu.repack < cpu.weights  # Q6_K stays as it is on AVX2
    assert plan.verdict == "fits"
    assert any("held twice" in reason for reason in plan.reasons)


def test_without_mapping_repacked_weights_are_held_once():
    mapped = plan_memory(llama_8b(), config(), machine(16)).devices[0]
    read = plan_memory(llama_8b(), config(use_mmap=False), machine(16))
    assert read.devices[0].weights + read.devices[0].repack == pytest.approx(
        mapped.weights, rel=0.12
    )
    assert not any("held twice" in reason for reason in read.reasons)


@pytest.mark.parametrize(
    ("share", "verdict", "reason"),
    [(0.5, "fits", "needs"), (0.97, "tight", "other programs"), (1.1, "does_not_fit", "be had")],
)
def test_the_verdict_follows_from_what_is_left(share: float, verdict: str, reason: str):
    needed = plan_memory(llama_8b(), config(), machine(16)).total
    plan = plan_memory(llama_8b(), config(), machine(needed / share / GIB))
    assert plan.total == needed
    assert plan.verdict == verdict
    assert reason in plan.reasons[0]


def test_layers_move_to_the_gpu_with_their_cache():
    whole = plan_memory(llama_8b(), config(n_gpu_layers=33), machine(16, gpu(24)))
    cpu, card = whole.devices
    assert card.device == "cuda0"
    assert card.kv_cache == GIB
    assert cpu.kv_cache == cpu.repack == 0
    assert cpu.weights < 0.7 * GIB  # the embeddings stay behind
    assert cpu.compute < card.compute
    half = plan_memory(llama_8b(), config(n_gpu_layers=17), machine(16, gpu(24)))
    assert half.devices[0].kv_cache == half.devices[1].kv_cache == GIB // 2


def test_gpu_layers_without_a_gpu_stay_on_the_cpu():
    plan = plan_memory(llama_8b(), config(n_gpu_layers=33), machine(16))
    assert plan.devices[0].kv_cache == GIB


def test_two_cards_share_by_their_free_memory():
    plan = plan_memory(llama_8b(), config(n_gpu_layers=33), machine(16, gpu(24), gpu(8)))
    _, large, small = plan.devices
    assert (large.device, small.device) == ("cuda0", "cuda1")
    assert large.kv_cache == pytest.approx(3 * small.kv_cache, rel=0.2)
    assert large.kv_cache + small.kv_cache == GIB


def test_unified_memory_is_not_counted_twice():
    apple = machine(16, gpu(12, "metal", unified=True), isa=("neon", "dotprod"))
    plan = plan_memory(llama_8b(), config(n_gpu_layers=33), apple)
    cpu, metal = plan.devices
    assert metal.available == min(12 * GIB, 16 * GIB - cpu.total)
    big = plan_memory(llama_8b(), config(n_gpu_layers=33, n_ctx=80_000), apple)
    assert big.verdict == "does_not_fit"


def test_an_encoder_has_no_cache():
    made = entry("nomic", quant("F16", 274_290_560), architecture=NOMIC, params=137_000_000)
    shape = shape_from_catalog(made, made.quants[0])
    plan = plan_memory(shape, config(n_ctx=2048, n_batch=2048, n_ubatch=2048), machine(4))
    assert plan.devices[0].kv_cache == 0
    assert shape.is_encoder
    assert plan.devices[0].output == 30_522 * 4


def test_unified_kv_is_one_pool():
    shared = plan_memory(llama_8b(), config(n_parallel=4, kv_unified=True), machine(16))
    split = plan_memory(llama_8b(), config(n_parallel=4), machine(16))
    assert shared.devices[0].kv_cache == split.devices[0].kv_cache
    assert shared.devices[0].compute > split.devices[0].compute  # masks span all cells


def test_sliding_layers_keep_the_window_unless_told_otherwise():
    facts = replace(LLAMA_8B, name="gemma3", sliding_window=1024)
    made = entry(architecture=facts)
    shape = shape_from_catalog(made, quant())
    window = plan_memory(shape, config(n_ctx=32_768), machine(64)).devices[0].kv_cache
    full = plan_memory(shape, config(n_ctx=32_768, swa_full=True), machine(64)).devices[0].kv_cache
    cells = 27 * 1536 + 5 * 32_768
    assert window == cells * 4096
    assert full == 32 * 32_768 * 4096
    pooled = config(n_ctx=32_768, n_parallel=4, kv_unified=True)
    assert (
        plan_memory(shape, pooled, machine(64)).devices[0].kv_cache
        == (27 * (4 * 1024 + 512) + 5 * 32_768) * 4096
    )


def test_estimates_know_latent_and_recurrent_layers():
    latent = replace(LLAMA_8B, name="deepseek2", n_head_kv=1, head_dim=576)
    shape = shape_from_catalog(entry(architecture=latent), quant())
    plan = plan_memory(shape, config(), machine(16))
    assert plan.devices[0].kv_cache == 32 * 8192 * 576 * 2
    early = replace(LLAMA_8B, name="deepseek2")  # converted before llama.cpp knew how
    shape = shape_from_catalog(entry(architecture=early), quant())
    plan = plan_memory(shape, config(), machine(16))
    assert plan.devices[0].kv_cache == 32 * 8192 * 2 * 1024 * 2
    hybrid = replace(LLAMA_8B, name="qwen35", n_layer_attention=8)
    shape = shape_from_catalog(entry(architecture=hybrid), quant())
    assert [bool(block.k) for block in shape.blocks[:4]] == [False, False, False, True]
    assert sum(bool(block.k) for block in shape.blocks) == 8
    assert shape.blocks[0].state > 0


def test_estimates_know_layers_that_see_only_a_window():
    windowed = replace(LLAMA_8B, name="gemma2", n_layer_attention=16, sliding_window=1024)
    shape = shape_from_catalog(entry(architecture=windowed), quant())
    plan = plan_memory(shape, config(), machine(16))
    assert plan.devices[0].kv_cache == 16 * (8192 + 1024 + 512) * 4096
    assert not any(block.state for block in shape.blocks)


def test_a_mapped_file_stays_mapped_though_all_its_layers_are_copied():
    tied = entry(params=7_500_000_000)
    plan = plan_memory(shape_from_catalog(tied, quant("Q4_0")), config(), machine(16))
    (cpu,) = plan.devices
    assert cpu.repack > 0.5 * quant().size_bytes
    assert cpu.weights > 0.9 * quant().size_bytes


def test_experts_are_told_from_what_every_token_uses():
    size = 26_441_533_376
    made = entry("mixtral", quant("Q4_K_M", size), architecture=MIXTRAL, params=46_703_000_000,
                 params_active=12_900_000_000)  # fmt: skip
    shape = shape_from_catalog(made, made.quants[0])
    experts = sum(w.n_bytes for block in shape.blocks for w in block.weights if w.role == "experts")
    assert 0.9 < experts / size < 0.99
    whole = sum(w.n_bytes for block in shape.blocks for w in block.weights)
    assert whole + sum(w.n_bytes for w in (*shape.input, *shape.output)) == pytest.approx(
        size, rel=0.01
    )


def test_a_rough_size_is_noted():
    shape = shape_from_catalog(entry(), quant(size_exact=False))
    assert "roughly" in plan_memory(shape, config(), machine(16)).reasons[-1]


def test_a_header_gives_computed_plans():
    shape = header_shape(g.llama())
    plan = plan_memory(shape, config(n_ctx=512), machine(1))
    assert plan.grade == "computed"
    assert shape.disk_bytes == plan.devices[0].weights + 3680  # all but the header
    assert shape.params_active == shape.params
    assert shape.is_gated


def test_tied_embeddings_are_the_output_too():
    made = g.llama()
    made.tensors.pop()
    shape = header_shape(made)
    assert [w.role for w in shape.output] == ["other", "matrix"]
    assert header_shape(g.llama()).output[-1].role == "matrix"


def test_only_the_experts_in_use_are_active():
    made = g.model("qwen3moe", block_count=1, expert_count=8, expert_used_count=2,
                   expert_feed_forward_length=32)  # fmt: skip
    made.tensors = [
        g.Tensor("blk.0.ffn_up_exps.weight", (64, 32, 8)),
        g.Tensor("blk.0.ffn_gate.weight", (64, 10)),
        g.Tensor("blk.9.stray.weight", (64, 10)),
    ]
    shape = header_shape(made)
    assert shape.params == 64 * 32 * 8 + 2 * 640
    assert shape.params_active == 64 * 32 * 2 + 2 * 640
    assert shape.n_ff == 64
    assert shape.blocks[0].weights[0].role == "experts"


def test_a_gate_may_be_half_of_the_upper_matrix():
    made = g.model("phi3", block_count=1)
    made.tensors = [g.Tensor("blk.0.ffn_up.weight", (64, 256)), g.Tensor("blk.0.scale", ())]
    assert header_shape(made).is_gated
    made.tensors[0] = g.Tensor("blk.0.ffn_up.weight", (64, 128))
    assert not header_shape(made).is_gated


def test_architectures_with_layouts_of_their_own_are_only_estimated():
    shape = header_shape(g.model("deepseek4"))
    assert shape.grade == "estimated"
    assert "rough" in shape.notes[0]


def test_an_unknown_architecture_is_estimated_and_said_to_be_unknown():
    known, unknown = header_shape(g.llama()), g.model("llama99")
    unknown.tensors = g.llama().tensors
    shape = header_shape(unknown)
    plan = plan_memory(shape, config(n_ctx=512), machine(1))
    assert plan.grade == "estimated"
    assert "nothing is known of the architecture 'llama99'" in plan.reasons[-1]
    decode, _ = predict_speed(shape, config(n_ctx=512), machine(1))
    usual, _ = predict_speed(known, config(n_ctx=512), machine(1))
    assert decode.high / decode.low > 1.5 * usual.high / usual.low


def test_tied_embeddings_that_are_read_into_memory_are_there_once():
    made = g.llama()
    made.tensors.pop()
    made.tensors[0].type_name = "F16"  # which no CPU repacks
    shape = header_shape(made)
    (cpu,) = plan_memory(shape, config(n_ctx=512, use_mmap=False), machine(1, isa=())).devices
    stored = sum(w.n_bytes for block in shape.blocks for w in block.weights)
    stored += sum(w.n_bytes for w in shape.input) + shape.output[0].n_bytes
    assert cpu.weights == stored


AVX2, AVX512 = frozenset({"avx2"}), frozenset({"avx2", "avx512f"})
AMX = AVX512 | {"amx_int8", "avx512_vnni"}
ARM, OLD_ARM = frozenset({"neon", "dotprod"}), frozenset({"neon"})


@pytest.mark.parametrize(
    ("isa", "kind", "shape", "share"),
    [
        (AVX2, "Q4_K", (256, 8), 1),
        (AVX2, "Q4_K", (256, 7), 0),
        (AVX2, "Q6_K", (256, 8), 0),
        (AVX2, "Q2_K", (256, 8), 0),
        (AVX512, "Q2_K", (256, 8), 1),
        (AMX, "Q6_K", (256, 32), 1),
        (AMX, "Q6_K", (256, 16), 0),
        (AMX, "Q4_K", (256, 32), 148 / 144),
        (AMX, "Q8_0", (64, 32), 38 / 34),
        (AMX, "Q4_K", (256, 8), 1),
        (ARM, "Q8_0", (64, 4), 1),
        (ARM, "Q6_K", (256, 4), 0),
        (OLD_ARM, "Q4_0", (64, 8), 0),
        (frozenset(), "Q4_0", (64, 8), 0),
    ],
)
def test_weights_are_repacked_by_type_and_instruction_set(
    isa: frozenset[str], kind: str, shape: tuple[int, int], share: float
):
    stored = TYPES_BY_NAME[kind]
    n_bytes = shape[0] * shape[1] // stored.block * stored.n_bytes
    weight = Weight("matrix", kind, *shape, n_bytes)
    assert repacked_bytes(weight, isa) == round(n_bytes * share)
    assert repacked_bytes(replace(weight, role="lookup"), isa) == 0


def test_the_compute_buffer_is_bounded_below_by_the_logits():
    shape = llama_8b()
    few = plan_memory(shape, config(n_ubatch=8), machine(64)).devices[0].compute
    many = plan_memory(shape, config(n_ubatch=8, n_parallel=16), machine(64)).devices[0].compute
    assert few < 2 * MIB
    assert many > 16 * 128_256 * 4


def test_narrow_experts_fit_into_what_attention_leaves():
    narrow = replace(llama_8b(), n_ff=2048, n_expert=8, n_expert_used=2)
    wide = replace(narrow, n_ff=20_480)
    small = plan_memory(narrow, config(), machine(64)).devices[0].compute
    assert small < plan_memory(wide, config(), machine(64)).devices[0].compute
    assert small >= 512 * 4 * (3 * 4096 + 4096 + 2 * 4096)
