"""A model for embeddings from its catalog entry to its vectors."""

from pathlib import Path

import openai
import pytest
from fakes.hub import FakeHub, File
from fakes.mlm_serve import mlm_serve
from fakes.tiny_models import write_tiny_model
from fakes.vectors import distance, unit

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

REPO = "org/Tiny-Embedding-GGUF"
ENTRY = """\
family: tiny-embedding
sources: {{me: "measured at home"}}
models:
  - model_id: tiny-embedding
    name: Tiny-Embedding
    params: 170000
    architecture: {{name: qwen3, n_layer: 2, n_embd: 64, n_head: 4, n_head_kv: 2, head_dim: 16,
                   n_ff: 96, n_vocab: 401, n_ctx_train: 8192}}
    license: MIT
    use_cases: [embedding]
    min_dimensions: 16
    source: me
    quants:
      - {{quant: F32, repo_id: {repo}, filename: tiny-F32.gguf, size_bytes: {size}, source: me}}
"""


@pytest.fixture
def listed(hub: FakeHub, home: Path, tmp_path: Path) -> str:
    """A model that the catalog has for embeddings; its file does not say what it is for."""
    content = write_tiny_model(tmp_path / "tiny.gguf", "qwen3").read_bytes()
    hub.add(REPO, File("tiny-F32.gguf", content))
    (home / "catalog").mkdir(parents=True)
    text = ENTRY.format(repo=REPO, size=len(content))
    (home / "catalog" / "tiny.yaml").write_text(text, encoding="utf-8")
    return "tiny-embedding"


def test_it_is_downloaded_planned_configured_and_served(mlm, listed: str, home: Path):
    assert "may be cut to 16" in mlm("catalog", "show", listed).stdout
    assert mlm("download", listed).exit_code == ExitCode.OK
    planned = mlm("plan", listed, "--json").json
    assert planned["context"]["n_outputs_max"] == 64 and planned["context"]["kv_unified"]
    config = mlm("config", "generate", listed).stdout + mlm("config", "show", listed).stdout
    assert "embedding: true" in config and "pooling: last" in config
    with mlm_serve(home, listed, "--threads", "1") as server:
        server.wait_for("loaded")
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            (whole,) = client.embeddings.create(model=listed, input="hello").data
            (cut,) = client.embeddings.create(model=listed, input="hello", dimensions=16).data
            with pytest.raises(openai.BadRequestError, match="from 16 to 64"):
                client.embeddings.create(model=listed, input="hello", dimensions=15)
    assert len(whole.embedding) == 64
    assert distance(cut.embedding, unit(whole.embedding[:16])) < 1e-3
