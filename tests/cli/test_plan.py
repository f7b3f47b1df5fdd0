"""``mlm plan``: what a model needs, from its file, from the hub, or from the catalog."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import gguf_files as g
from fakes.hub import FakeHub, File
from fakes.observations import observation
from fakes.tiny_models import write_tiny_model
from fakes.tiny_projector import write_tiny_projector

from mlm.gguf.reader import read_file_header
from mlm.stats.ledger import Ledger

pytestmark = pytest.mark.usefixtures("warm_home")

LAPTOP = ("--hardware", "16GB laptop")
FIELDS = {
    "ref", "grade", "architecture", "context", "n_ctx_slot", "n_gpu_layers", "disk_bytes",
    "devices", "decode_tps", "prefill_tps", "verdict", "reasons",
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return g.llama().write(tmp_path / "small.gguf")


def test_a_local_file_is_computed(mlm, model: Path):
    document = mlm("plan", model, "--json", *LAPTOP).json
    assert document["schema"] == "mlm.plan/1"
    assert set(document) >= FIELDS
    assert (document["grade"], document["architecture"]) == ("computed", "llama")
    assert document["verdict"] == "fits"
    assert document["disk_bytes"] == model.stat().st_size
    assert document["context"]["n_ctx"] == 4 * 512
    assert document["context"]["n_seq_max"] == document["context"]["n_outputs_max"] == 4
    (cpu,) = document["devices"]
    parts = ("weights", "kv_cache", "compute", "output", "repack", "overhead")
    assert cpu["total"] == sum(cpu[part] for part in parts)


def test_the_text_fits_eighty_columns(mlm, model: Path):
    result = mlm("plan", model, "--hardware", "2x RTX 4090")
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80 + len(str(model))
    for words in ("known from", "KV cache", "tokens/s", "cuda0", "fits"):
        assert words in result.stdout


def test_overrides_are_obeyed(mlm, model: Path):
    document = mlm(
        "plan", model, "--json", *LAPTOP, "--ctx", "300", "--parallel", "2", "--type-k", "q8_0",
        "--type-v", "q8_0", "--threads", "3", "--batch", "256", "--ubatch", "64",
    ).json  # fmt: skip
    assert document["n_ctx_slot"] == 300
    assert document["context"] == {
        "n_ctx": 600, "n_seq_max": 2, "n_batch": 256, "n_ubatch": 64, "n_outputs_max": 2,
        "kv_unified": False, "flash_attn": "auto", "swa_full": False, "type_k": "q8_0",
        "type_v": "q8_0", "n_threads": 3, "n_threads_batch": 3,
    }  # fmt: skip


def test_a_kept_config_is_what_is_planned(mlm, home: Path, model: Path):
    mlm("config", "generate", model, "--parallel", "3", "--threads", "1")
    path = home / "config" / "small.yaml"
    path.write_text(path.read_text().replace("max_tokens: null", "max_tokens: 5"))
    kept = mlm("plan", model, "--json", *LAPTOP)
    assert kept.json["context"]["n_seq_max"] == 3
    assert str(path) in kept.stderr
    typed = mlm("plan", model, "--json", *LAPTOP, "--threads", "2").json
    assert (typed["context"]["n_seq_max"], typed["context"]["n_threads"]) == (3, 2)


def test_a_model_on_the_hub_is_planned_from_its_header_alone(mlm, hub: FakeHub):
    big = g.llama(n_vocab=1000, n_embd=1024, n_layer=8)
    data = big.encode()
    hub.add("org/big-GGUF", File("big-Q4_K_M.gguf", data), File("big-Q8_0.gguf", data))
    result = mlm("plan", "org/big-GGUF:Q8_0", "--json", *LAPTOP)
    assert result.exit_code == 0
    assert result.json["grade"] == "computed"
    assert result.json["disk_bytes"] == len(data)
    assert result.json["ref"] == "org/big-GGUF:Q8_0"
    assert "from the hub" in result.stderr
    assert hub.requested_ranges == ["bytes=0-1048575"]


def test_all_parts_of_a_split_model_count(mlm, hub: FakeHub):
    first, second = g.llama(), g.GGUFFile()
    whole = first.encode()
    second.tensors = first.tensors[5:]
    first.tensors = first.tensors[:5]
    for number, part in enumerate((first, second)):
        part.set("split.no", g.U16, number).set("split.count", g.U16, 2)
    parts = [
        File(f"m-Q8_0-0000{number}-of-00002.gguf", part.encode())
        for number, part in enumerate((first, second), start=1)
    ]
    hub.add("org/split-GGUF", *parts)
    document = mlm("plan", "org/split-GGUF:Q8_0", "--json", *LAPTOP).json
    assert document["disk_bytes"] == pytest.approx(len(whole), rel=0.01)


def test_without_a_hub_the_catalog_has_to_do(mlm):
    result = mlm("--offline", "plan", "qwen3-8b:Q4_K_M", "--json", *LAPTOP)
    assert result.exit_code == 0
    assert result.json["grade"] == "estimated"
    assert result.json["origin"] == "the catalog"
    assert "estimated from the catalog" in result.stderr


def test_a_repository_that_the_catalog_knows_can_be_planned_offline(mlm):
    known = mlm("--offline", "plan", "qwen3-8b:Q4_K_M", "--json", *LAPTOP).json
    from mlm.catalog.load import load_catalog

    catalog = load_catalog(Path("/none"), Path("/none"))
    pinned = catalog.find_quant(catalog.find("qwen3-8b"), "Q4_K_M")
    for ref in (f"{pinned.repo_id}:Q4_K_M", f"{pinned.repo_id}/{pinned.filename}"):
        result = mlm("--offline", "plan", ref, "--json", *LAPTOP)
        assert result.json["devices"] == known["devices"]
    assert mlm("--offline", "plan", pinned.repo_id, *LAPTOP).exit_code == 6
    assert mlm("--offline", "plan", "org/unknown:Q4_K_M", *LAPTOP).exit_code == 6


def test_a_bare_name_means_the_best_quantization_for_the_machine(mlm):
    document = mlm("--offline", "plan", "qwen3-8b", "--json", "--hardware", "RTX 4090").json
    small = mlm("--offline", "plan", "qwen3-8b", "--json", *LAPTOP).json
    assert document["ref"].startswith("qwen3-8b:")
    assert document["disk_bytes"] > small["disk_bytes"]


def test_the_bundled_model_needs_no_network(mlm):
    result = mlm("--offline", "plan", "mlm-demo", "--json", *LAPTOP)
    assert result.json["grade"] == "exact"


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_does_not_fit_is_still_planned(mlm, words: tuple[str, ...]):
    result = mlm("--offline", "plan", "llama-3.1-70b:Q4_K_M", *LAPTOP, *words)
    assert result.exit_code == 4
    if words:
        assert result.json["verdict"] == "does_not_fit"
        assert "can be had" in result.json["reasons"][0]
    else:
        assert "does not fit" in result.stdout
        assert "mlm recommend" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("no-such-model",), 3, "no model is called"),
        (("qwen3-8b:Q9_Z",), 3, "not in the catalog at Q9_Z"),
        (("./missing.gguf",), 3, "missing.gguf"),
        (("qwen3-8b", "--type-v", "q8_0", "--flash-attn", "off"), 2, "flash attention"),
        (("qwen3-8b", "--hardware", "nonsense"), 3, "no machine"),
    ],
)
def test_bad_input_gets_a_clear_answer(mlm, words: tuple[str, ...], code: int, message: str):
    result = mlm("--offline", "plan", *words)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_file_that_is_no_model_says_what_it_is(mlm, tmp_path: Path):
    (tmp_path / "page.gguf").write_text("<!DOCTYPE html>")
    result = mlm("plan", tmp_path / "page.gguf")
    assert result.exit_code == 5
    assert "an HTML page" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_broken_file_on_the_hub_is_not_papered_over(mlm, hub: FakeHub):
    hub.add("org/bad-GGUF", File("bad-Q8_0.gguf", b"<!DOCTYPE html>" * 100))
    result = mlm("plan", "org/bad-GGUF:Q8_0")
    assert result.exit_code == 5
    assert "HTML page" in result.stderr


def test_a_single_slot_is_one_slot(mlm, model: Path):
    assert "1 slot of" in mlm("plan", model, "--parallel", "1").stdout
    assert "2 slots of" in mlm("plan", model, "--parallel", "2").stdout


def test_what_ran_here_corrects_the_speed_and_of_another_machine_says_nothing(
    mlm, home: Path, model: Path
):
    before, elsewhere = (mlm("plan", model, "--json", *more).json for more in ((), LAPTOP))
    predicted = before["decode_tps"]["mid"]
    ledger = Ledger(home / "ledger.sqlite")
    machine = mlm("hardware", "--json").json["fingerprint"]
    run = observation(at=time.time(), machine=machine, model="small", predicted=predicted)
    run = replace(run, quant=before["quant"])
    ledger.note(replace(run, actual=predicted / 2, source="bench"))
    ledger.close()
    after = mlm("plan", model, "--json").json
    assert after["decode_tps"]["mid"] == pytest.approx(predicted / 2, rel=0.2)
    assert after["prefill_tps"] == pytest.approx(before["prefill_tps"], rel=0.2)
    assert mlm("plan", model, "--json", *LAPTOP).json["decode_tps"] == elsewhere["decode_tps"]


def test_what_a_model_of_the_hub_sees_with_is_counted_as_it_would_come_along(mlm):
    from mlm.catalog.load import load_catalog

    catalog = load_catalog(Path("/none"), Path("/none"))
    entry = next(e for e in catalog.entries if e.mmproj and e.projector(e.quants[0]))
    quant, side = entry.quants[0], entry.projector(entry.quants[0])
    ref = f"{entry.model_id}:{quant.quant}"
    document = mlm("--offline", "plan", ref, "--json", "--hardware", "1TB server").json
    assert document["mmproj"]["size_bytes"] == side.size_bytes
    assert document["mmproj"]["loaded"] is True
    assert document["grade"] == "estimated"
    assert document["disk_bytes"] == quant.size_bytes
    assert any("it holds its projector" in reason for reason in document["reasons"])
    blind = mlm("--offline", "plan", "qwen3-8b:Q4_K_M", "--json", *LAPTOP).json
    assert blind["mmproj"] is None


def test_what_a_local_model_sees_with_is_read_from_the_file_beside_it(mlm, tmp_path: Path):
    model = write_tiny_model(tmp_path / "seer.gguf", "gemma3")
    blind = mlm("plan", model, "--json", *LAPTOP).json
    eyes = write_tiny_projector(tmp_path / "mmproj-F16.gguf", "gemma3")
    seeing = mlm("plan", model, "--json", *LAPTOP).json
    assert blind["mmproj"] is None
    named = {"filename": eyes.name, "size_bytes": eyes.stat().st_size, "size_exact": True}
    assert seeing["mmproj"] == named | {"loaded": True}
    (before,), (after,) = blind["devices"], seeing["devices"]
    more = sum(tensor.n_bytes for tensor in read_file_header(eyes).tensors)
    assert after["weights"] - before["weights"] == more


def test_a_projector_of_another_model_or_a_broken_one_is_passed_over(mlm, tmp_path: Path):
    model = write_tiny_model(tmp_path / "seer.gguf", "gemma3")
    eyes = write_tiny_projector(tmp_path / "mmproj-F16.gguf", "gemma3")
    data = eyes.read_bytes()
    key = b"clip.vision.projection_dim" + (4).to_bytes(4, "little")
    assert key + (64).to_bytes(4, "little") in data
    eyes.write_bytes(data.replace(key + b"\x40", key + b"\x41"))
    assert mlm("plan", model, "--json", *LAPTOP).json["mmproj"] is None
    eyes.write_bytes(data[:1000])
    assert mlm("plan", model, "--json", *LAPTOP).json["mmproj"] is None
    eyes.write_bytes(data)
    assert mlm("plan", model, "--json", *LAPTOP).json["mmproj"] is not None
