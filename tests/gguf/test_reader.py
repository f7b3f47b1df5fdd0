"""Real headers are understood; what is not a model says so."""

from pathlib import Path

from fakes import gguf_files as g

from mlm.gguf.reader import read_metadata


def test_a_llama_is_understood(tmp_path: Path):
    model = read_metadata(g.llama().write(tmp_path / "small.gguf"))
    assert model.architecture == "llama"
    assert (model.n_layer, model.n_embd, model.n_vocab, model.n_ctx_train) == (2, 64, 96, 512)
    assert (model.n_head, model.n_head_kv) == ((4, 4), (2, 2))
    assert (model.head_dim_k, model.head_dim_v) == (16, 16)
    assert model.quant == "Q8_0"
    assert model.chat_template == "{{ messages[0].content }}"
    assert model.eos_token_id == 95
    assert model.has_kv == (True, True)
    assert model.params == sum(tensor.n_elements for tensor in model.tensors)
    assert model.file_size == (tmp_path / "small.gguf").stat().st_size
