"""The packaged model is small, and the catalog pins exactly this file."""

import hashlib
from pathlib import Path

from mlm.catalog.load import load_catalog
from mlm.demo.hub import DEMO_FILE, DEMO_FILENAME, DEMO_REPO_ID
from mlm.gguf.reader import read_metadata


def test_the_model_is_at_most_two_megabytes():
    assert DEMO_FILE.stat().st_size <= 2_000_000


def test_the_catalog_pins_exactly_the_packaged_file(tmp_path: Path):
    entry = load_catalog(tmp_path / "none", tmp_path / "cache").find("mlm-demo")
    (quant,) = entry.quants
    content = DEMO_FILE.read_bytes()
    assert entry.bundled
    assert (quant.repo_id, quant.filename) == (DEMO_REPO_ID, DEMO_FILENAME)
    assert quant.size_bytes == len(content)
    assert quant.sha256 == hashlib.sha256(content).hexdigest()


def test_the_catalog_describes_the_shape_in_the_file(tmp_path: Path):
    entry = load_catalog(tmp_path / "none", tmp_path / "cache").find("mlm-demo")
    metadata = read_metadata(DEMO_FILE)
    assert metadata.quant == entry.quants[0].quant
    assert metadata.params == entry.params
    shape = entry.architecture
    assert (metadata.architecture, metadata.n_layer, metadata.n_embd, metadata.n_vocab) == (
        shape.name,
        shape.n_layer,
        shape.n_embd,
        shape.n_vocab,
    )
    assert metadata.n_head == (shape.n_head,) * shape.n_layer
    assert metadata.n_head_kv == (shape.n_head_kv,) * shape.n_layer
    assert metadata.n_ctx_train == shape.n_ctx_train


def test_the_model_says_how_to_chat_and_when_a_turn_ends():
    metadata = read_metadata(DEMO_FILE)
    assert metadata.chat_template is not None
    for word in ("system", "user", "assistant", "add_generation_prompt"):
        assert word in metadata.chat_template
    assert metadata.eos_token_id == metadata.values["tokenizer.ggml.eot_token_id"]
