"""A profile is given in full where the machine allows it; what is given up is said."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.facts import LLAMA_8B, NOMIC, entry, gpu, machine, quant

from mlm.hardware.types import Hardware
from mlm.planning.memory import plan_memory
from mlm.planning.overrides import Overrides
from mlm.planning.profiles import BALANCED, PROFILES
from mlm.planning.reasons import find_unmet, read_wishes
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog
from mlm.planning.types import ModelShape, ProfileName, RuntimeConfig


def llama_8b(**facts: Any) -> ModelShape:
    return shape_from_catalog(entry(architecture=replace(LLAMA_8B, **facts)), quant())


def chosen(
    name: ProfileName,
    hardware: Hardware,
    shape: ModelShape | None = None,
    users: int | None = None,
    **asked: Any,
) -> tuple[RuntimeConfig, list[str]]:
    """Return the config of a profile, and what could not be had."""
    profile = replace(PROFILES[name], n_parallel=users) if users else PROFILES[name]
    config = plan_runtime(shape or llama_8b(), hardware, Overrides(**asked), profile)
    return config, find_unmet(config, config.reasons, profile)


BIG = machine(512)
BIG = replace(BIG, memory=replace(BIG.memory, lockable=BIG.memory.total))


@pytest.mark.parametrize("name", PROFILES)
def test_a_large_machine_gets_all_that_a_profile_fixes(name: ProfileName):
    profile = PROFILES[name]
    config, unmet = chosen(name, BIG)
    assert unmet == []
    assert profile.n_ctx_slot <= config.n_ctx_slot <= profile.n_ctx_most
    assert config.n_parallel == profile.n_parallel
    assert config.type_k == config.type_v == profile.type_kv
    assert (config.max_tokens, config.cache_ttl_s) == (profile.max_tokens, profile.cache_ttl_s)
    assert config.use_mlock == profile.use_mlock
    assert config.profile == name
    assert plan_memory(llama_8b(), config, BIG).verdict == "fits"


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("memory", [6, 8, 16, 64])
def test_what_is_given_up_is_said_and_nothing_else(name: ProfileName, memory: int):
    profile = PROFILES[name]
    config, unmet = chosen(name, machine(memory))
    said = {line.split()[0] for line in unmet}
    assert ("n_ctx_slot" in said) == (config.n_ctx_slot < profile.n_ctx_slot)
    assert ("n_parallel" in said) == (config.n_parallel < profile.n_parallel)
    assert ("type_k" in said) == (config.type_k != profile.type_kv)
    assert ("use_mlock" in said) == (config.use_mlock != profile.use_mlock)
    assert all(": " in line for line in unmet)


def test_no_profile_means_balanced():
    assert plan_runtime(llama_8b(), machine(16), Overrides()) == chosen("balanced", machine(16))[0]
    assert PROFILES["balanced"] is BALANCED


def test_what_a_model_was_not_trained_for_is_no_fault_of_the_memory():
    _, (why,) = chosen("high-performance", BIG, llama_8b(n_ctx_train=16_384))
    assert why == "n_ctx_slot is 16384, not 32768: the model was trained for no more"


def test_what_somebody_insists_on_is_not_said_to_be_missing():
    config, unmet = chosen("production", BIG, n_ctx_slot=1024, n_parallel=2, type_k="f16")
    assert (config.n_ctx_slot, config.n_parallel, config.type_k) == (1024, 2, "f16")
    assert unmet == []


def test_each_user_gets_a_slot_where_memory_allows_it():
    config, unmet = chosen("balanced", BIG, users=12)
    assert (config.n_parallel, unmet) == (12, [])
    assert config.reasons["n_parallel"] == "one for each of 12 users"
    config, unmet = chosen("balanced", machine(8), users=12)
    assert 1 <= config.n_parallel < 12
    assert any("slots for 12 users would not fit" in line for line in unmet)


def test_without_flash_attention_a_profile_gives_up_its_small_v_cache():
    config, unmet = chosen("low-resource", BIG, flash_attn="off")
    assert (config.type_k, config.type_v) == ("q8_0", "f16")
    assert unmet == ["type_v is f16, not q8_0: a smaller V cache needs flash attention"]


@pytest.mark.parametrize(
    ("lockable", "memory", "why"),
    [
        (None, 64, "is not known"),
        (8 * 1024**2, 64, "is 8.00 MiB"),
        (64 * 1024**3, 10, "more than half of the memory"),
    ],
)
def test_memory_is_locked_only_where_that_is_allowed_and_there_is_plenty(
    lockable: int | None, memory: int, why: str
):
    box = machine(memory, isa=())
    box = replace(box, memory=replace(box.memory, lockable=lockable))
    config, unmet = chosen("production", box, n_parallel=4)
    assert not config.use_mlock
    assert why in unmet[-1]


def test_what_is_on_a_gpu_is_not_locked_in_main_memory():
    box = replace(BIG, accelerators=(gpu(80),))
    config, unmet = chosen("production", box)
    assert not config.use_mlock
    assert config.reasons["use_mlock"] == "the weights are not in main memory"
    assert unmet == []


def test_an_encoder_has_no_cache_to_fix():
    made = entry("nomic", quant("F16", 274_290_560), architecture=NOMIC, params=137_000_000)
    shape = shape_from_catalog(made, made.quants[0])
    config, unmet = chosen("low-resource", BIG, shape)
    assert (config.n_ctx_slot, config.n_parallel) == (2048, 32)  # not what the profile says
    assert unmet == []


def test_a_config_remembers_what_was_asked_when_it_was_made():
    asked = {"n_ctx_slot": 4096, "n_threads": 3, "type_k": "q8_0", "flash_attn": "on"}
    config, _ = chosen("balanced", machine(16), users=6, **asked)
    assert read_wishes(config) == (Overrides(**asked), 6)  # type: ignore[arg-type]
    config, _ = chosen("balanced", machine(6), users=6)
    assert read_wishes(config) == (Overrides(), 6)
    assert read_wishes(chosen("production", machine(16))[0]) == (Overrides(), None)
