"""A manifest is read whole or refused, and every refusal names line and column."""

from pathlib import Path

import pytest

from mlm.errors import MlmError, NotFoundError, UsageError
from mlm.manifest.document import read_schema
from mlm.manifest.manifest_file import read_manifest
from mlm.planning.overrides import Overrides
from mlm.units import GIB

FULL = """\
engine: llama-cpp-python>=0.3.36,<0.4
hardware:
  memory: 16GiB
  accelerator: cuda
models:
  - model: qwen3-8b:Q4_K_M
    config: {n_ctx_slot: 8192, n_parallel: 2, type_k: q8_0, n_gpu_layers: all}
    smoke: {prompt: What is two and two?, expect: four, max_tokens: 400}
  - model: org/repo/file.gguf
    revision: v1.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mlm.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_can_be_wanted_is_read(tmp_path: Path):
    manifest = read_manifest(write(tmp_path, FULL))
    assert manifest.engine == "<0.4,>=0.3.36"
    assert (manifest.demands.memory, manifest.demands.accelerator) == (16 * GIB, "cuda")
    first, second = manifest.models
    assert first.name == "qwen3-8b:Q4_K_M"
    assert first.overrides == Overrides(
        n_ctx_slot=8192, n_parallel=2, type_k="q8_0", n_gpu_layers="all"
    )
    assert (first.smoke.expect, first.smoke.max_tokens) == ("four", 400)
    assert (second.name, second.revision) == ("org/repo/file.gguf", "v1.0")
    assert second.overrides == Overrides()


def test_the_schema_offers_just_the_overrides_that_there_are():
    offered = read_schema("manifest")["$defs"]["config"]["properties"]
    assert set(offered) == set(Overrides.__dataclass_fields__)


def test_what_is_asked_of_the_config_has_the_same_checksum_however_it_is_written(tmp_path: Path):
    texts = [
        "models: [{model: a, config: {n_parallel: 2, type_k: q8_0}}]",
        "models:\n- config:\n    type_k: 'q8_0'\n    n_parallel: 0x2\n  model: a",
        "models: [{model: a, config: {n_parallel: 3, type_k: q8_0}}]",
    ]
    sums = [read_manifest(write(tmp_path, text)).models[0].config_sha256 for text in texts]
    assert sums[0] == sums[1] != sums[2]


def test_without_a_manifest_the_error_holds_one_to_paste(tmp_path: Path):
    with pytest.raises(NotFoundError) as refused:
        read_manifest(tmp_path / "mlm.yaml")
    assert "mlm lock --init" in str(refused.value.remedy)
    assert "printf 'models:" in str(refused.value.remedy)


REFUSED = {  # what is wrong -> (text, where, words of the message)
    "empty": ("", "1:1", "must be a mapping"),
    "a list": ("- model: a", "1:1", "must be a mapping"),
    "no models": ("engine: llama-cpp-python", "1:1", "'models' is missing"),
    "an empty list": ("models: []", "1:1", "must not be empty"),
    "a bare name": ("models: [qwen3-8b]", "1:10", "must be a mapping"),
    "an unknown key": ("models:\n- model: a\n  quant: Q4", "3:3", "unknown field 'quant'"),
    "a misspelt setting": (
        "models:\n- model: a\n  config:\n    n_paralel: 2", "4:5", "did you mean 'n_parallel'"),
    "a name that cannot be": ("models:\n- model: 'a b'", "2:3", "not the name of a model"),
    "a way out of the store": ("models:\n- model: org/repo/../../x.gguf", "2:3", "not the name"),
    "a local file": ("models:\n- model: ./a.gguf", "2:3", "is a file of this machine"),
    "a home": ("models:\n- model: ~/a.gguf", "2:3", "is a file of this machine"),
    "twins": ("models:\n- model: a\n- model: A", "3:3", "is here twice"),
    "a revision that climbs": (
        "models:\n- model: a\n  revision: ../../etc/passwd", "3:3", "not a branch"),
    "a revision like an option": ("models:\n- model: a\n  revision: -x", "3:3", "not a branch"),
    "a number for a name": ("models:\n- model: 8", "2:3", "must be text"),
    "too many slots": ("models:\n- model: a\n  config: {n_parallel: 257}", "3:12", "more than 256"),
    "true for a number": ("models:\n- model: a\n  config: {n_batch: true}", "3:12", "an integer"),
    "half a layer": ("models:\n- model: a\n  config: {n_gpu_layers: 1.5}", "3:12", "neither"),
    "settings that fight": (
        "models:\n- model: a\n  config: {type_v: q8_0, flash_attn: off}", "3:3", "flash attention"),
    "another engine": ("engine: vllm>=1\nmodels: [{model: a}]", "1:1", "not written like"),
    "an engine from a URL": (
        "engine: llama-cpp-python @ https://e.org/x.whl\nmodels: [{model: a}]", "1:1", "written"),
    "a size that is none": ("hardware: {memory: lots}\nmodels: [{model: a}]", "1:12", "not a size"),
    "an unknown accelerator": (
        "hardware: {accelerator: gpu}\nmodels: [{model: a}]", "1:12", "none of cuda"),
    "a duplicate key": ("models: [{model: a, model: b}]", "1:21", "here twice"),
    "an alias": ("models:\n- &m {model: a}\n- *m", "2:3", "anchors"),
    "a tag": ("models: !!python/object/apply:os.system [x]", "1:9", "tags"),
    "an escape": ('models:\n- model: a\n  smoke: {prompt: "\\e[2J"}', "3:11", "control characters"),
    "a conflict of git": ("<<<<<<< ours\nmodels: [{model: a}]\n=======", "2:7", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_where_it_stands(tmp_path: Path, case):
    text, where, words = case
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        read_manifest(path)
    assert refused.value.message.startswith(f"{path}:{where}: ")
    assert words in refused.value.message


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"models: " + b"[" * 5000, b"a" * (1024 * 1024 + 1), b"\0", b"models:\n\t- a"],
    ids=["not text", "deep", "huge", "nul", "tab"],
)
def test_what_is_no_yaml_at_all_is_refused_too(tmp_path: Path, content: bytes):
    path = tmp_path / "mlm.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"mlm\.yaml:\d+:\d+: "):
        read_manifest(path)


def test_more_models_than_a_machine_can_mean_are_refused_quickly(tmp_path: Path):
    models = "\n".join(f"- model: m{n}" for n in range(40_000))
    with pytest.raises(UsageError, match="more than 1000 models"):
        read_manifest(write(tmp_path, f"models:\n{models}"))


def test_a_lock_is_not_taken_for_a_manifest(tmp_path: Path):
    with pytest.raises(UsageError, match="would be a lock"):
        read_manifest(tmp_path / "mlm.lock")


def test_a_folder_is_no_manifest(tmp_path: Path):
    with pytest.raises(MlmError, match="cannot read"):
        read_manifest(tmp_path)
