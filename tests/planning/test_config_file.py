"""Config files say why, survive a round trip, and are refused line by line when they are wrong."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.facts import entry, gpu, machine, quant
from hypothesis import given
from hypothesis import strategies as st

from mlm.errors import NotFoundError, UsageError
from mlm.planning.config_file import (
    ConfigError,
    config_path,
    format_config,
    parse_config,
    read_config,
)
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog
from mlm.planning.types import RuntimeConfig


def planned() -> RuntimeConfig:
    return plan_runtime(
        shape_from_catalog(entry(), quant()), machine(16, gpu(24)), Overrides(type_k="q8_0")
    )


def test_what_is_written_is_read_back_reasons_and_all(tmp_path: Path):
    path = tmp_path / "m.yaml"
    path.write_text(format_config(planned(), "m"), encoding="utf-8")
    assert read_config(path) == planned()


@given(
    n_ctx=st.integers(512, 2**20), slots=st.integers(1, 256), layers=st.integers(0, 513),
    mmap=st.booleans(), reason=st.text(max_size=60), most=st.none() | st.integers(1, 999),
)  # fmt: skip
def test_any_config_survives_a_round_trip(
    n_ctx: int, slots: int, layers: int, mmap: bool, reason: str, most: int | None
):
    config = replace(
        planned(), n_ctx=n_ctx, n_parallel=slots, n_gpu_layers=layers, use_mmap=mmap,
        max_tokens=most, reasons={"n_ctx": reason},
    )  # fmt: skip
    again = parse_config(format_config(config, "m"), source="test")
    assert replace(again, reasons={}) == replace(config, reasons={})


def test_the_file_explains_each_value():
    text = format_config(planned(), "qwen3-8b:Q4_K_M")
    assert 'model: "qwen3-8b:Q4_K_M"' in text
    assert "# all of them fit on Test GPU\nn_gpu_layers: 33\n" in text
    assert "# as you asked\ntype_k: q8_0\n" in text


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("qwen3-8b", "qwen3-8b.yaml"),
        ("qwen3-8b:Q4_K_M", "qwen3-8b@Q4_K_M.yaml"),
        ("org/repo:Q4_K_M", "org--repo@Q4_K_M.yaml"),
        ("../../etc/passwd", "..--..--etc--passwd.yaml"),
        ("a\\b\x00c", "a_b_c.yaml"),
    ],
)
def test_the_file_of_a_model_stays_in_its_folder(tmp_path: Path, model_id: str, name: str):
    assert config_path(tmp_path, model_id) == tmp_path / name


def test_a_name_too_long_for_a_file_is_cut_but_stays_its_own(tmp_path: Path):
    names = {config_path(tmp_path, "é" * 200 + last).name for last in ("a", "b")}
    assert len(names) == 2
    assert all(len(name.encode()) < 220 for name in names)


GOOD = format_config(planned(), "m")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (GOOD + "n_treads: 3\n", "there is no setting 'n_treads'"),
        (GOOD + "zzz: 3\n", "there is no setting 'zzz'"),
        (GOOD + "n_ctx: 3\n", "here twice"),
        (GOOD.replace("n_ctx: 32768", "n_ctx: many"), "n_ctx is 'many', not a whole number"),
        (GOOD.replace("n_ctx: 32768", "n_ctx: 0"), "n_ctx is 0, not a whole number from 1"),
        (GOOD.replace("n_ctx: 32768", "n_ctx: true"), "n_ctx is True"),
        (GOOD.replace("n_ctx: 32768", "n_ctx: null"), "n_ctx is None"),
        (GOOD.replace("n_ctx: 32768", "n_ctx: 3"), "n_parallel 4 leaves no token"),
        (GOOD.replace("n_parallel: 4", "n_parallel: 999"), "from 1 to 256"),
        (GOOD.replace("n_ubatch: 512", "n_ubatch: 4096"), "n_ubatch 4096 is more than n_batch"),
        (GOOD.replace("type_k: q8_0", "type_k: q9"), "type_k is 'q9', not one of f32, f16"),
        (GOOD.replace("type_k: q8_0", "type_k: [q8_0]"), "type_k is"),
        (
            GOOD.replace("type_v: f16", "type_v: q8_0").replace(": auto", ": off", 1),
            "needs flash_attn",
        ),
        (GOOD.replace("cache_ttl_s: 86400", "cache_ttl_s: -1"), "cache_ttl_s is -1, not a whole"),
        (GOOD.replace("profile: balanced", "profile: fast"), "not one of low-resource, balanced"),
        (GOOD.replace("use_mmap: true", "use_mmap: yes"), "use_mmap is 'yes', not true or false"),
        (GOOD.replace("n_threads: 4\n", ""), "n_threads is missing"),
        ("- a list\n", "not a list of settings"),
        ("a: &x 1\nb: *x\n", "anchors"),
        ("{", "test"),
    ],
)
def test_what_is_wrong_is_named_with_key_and_place(wrong: str, why: str):
    with pytest.raises(UsageError) as caught:
        parse_config(wrong, source="test")
    assert why in caught.value.message
    assert caught.value.message.startswith("test")


def test_a_misspelt_key_gets_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD + "n_treads: 3\n", source="x.yaml")
    assert caught.value.remedy == "did you mean n_threads?"
    assert f"x.yaml:{GOOD.count(chr(10)) + 1}:1:" in caught.value.message


def test_a_setting_of_a_later_mlm_asks_for_that(tmp_path: Path):
    text = re.sub(r"written by mlm [0-9.]+[0-9]", "written by mlm 99.1", GOOD) + "warp: 9\n"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="x.yaml")
    assert "there is no setting 'warp'" in caught.value.message
    assert "mlm 99.1 wrote the file" in str(caught.value.remedy)
    assert "update mlm" in str(caught.value.remedy)


def test_threads_of_prefill_follow_those_of_decode():
    text = GOOD.replace("n_threads_batch: 4", "").replace("n_threads: 4", "n_threads: 5")
    assert parse_config(text, source="test").n_threads_batch == 5


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(NotFoundError):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "binary.yaml")
    (tmp_path / "long.yaml").write_text("#" * 2_000_000)
    with pytest.raises(UsageError, match="longer than"):
        read_config(tmp_path / "long.yaml")
