"""Writes ``catalog/mlm-demo.yaml`` so that it pins exactly the file that is packaged."""

import hashlib
from pathlib import Path

import gguf

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "mlm" / "demo" / "mlm-demo.gguf"
CATALOG_FILE = ROOT / "catalog" / "mlm-demo.yaml"
ENTRY = """\
# yaml-language-server: $schema=schema.json
# Written by scripts/demo_model/pin.py.
family: mlm-demo
sources:
  file: "mlm/demo/mlm-demo.gguf, trained by scripts/demo_model/train.py"
models:
  - model_id: mlm-demo
    name: mlm-demo
    params: {params}
    architecture:
      name: llama
      n_layer: {n_layer}
      n_embd: {n_embd}
      n_head: {n_head}
      n_head_kv: {n_head_kv}
      head_dim: {head_dim}
      n_ff: {n_ff}
      n_vocab: {n_vocab}
      n_ctx_train: {n_ctx_train}
    license: Apache-2.0
    gated: false
    use_cases: [chat]
    source: file
    bundled: true
    quants:
      - quant: Q8_0
        repo_id: mlm/mlm-demo-GGUF
        filename: mlm-demo.Q8_0.gguf
        size_bytes: {size_bytes}
        sha256: "{sha256}"
        sha256_verified: true
        source: file
"""


def catalog_entry(path: Path) -> str:
    """Return the catalog file for the model at ``path``, every figure read from it."""
    reader = gguf.GGUFReader(path)

    def value(name: str) -> int:
        return int(reader.fields[f"llama.{name}"].contents())

    content = path.read_bytes()
    return ENTRY.format(
        params=sum(int(tensor.n_elements) for tensor in reader.tensors),
        n_layer=value("block_count"),
        n_embd=value("embedding_length"),
        n_head=value("attention.head_count"),
        n_head_kv=value("attention.head_count_kv"),
        head_dim=value("rope.dimension_count"),
        n_ff=value("feed_forward_length"),
        n_vocab=value("vocab_size"),
        n_ctx_train=value("context_length"),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


if __name__ == "__main__":
    CATALOG_FILE.write_text(catalog_entry(MODEL), encoding="utf-8")
    print(f"wrote {CATALOG_FILE}")
