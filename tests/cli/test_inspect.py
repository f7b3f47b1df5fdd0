"""``mlm inspect``: every header can be looked at, and none can command the terminal."""

from pathlib import Path

import pytest
from fakes import gguf_files as g
from fakes.hub import FakeHub, File

pytestmark = pytest.mark.usefixtures("warm_home")


def test_a_model_is_shown_with_its_template(mlm, tmp_path: Path):
    path = g.llama().write(tmp_path / "small.gguf")
    result = mlm("inspect", path)
    assert result.exit_code == 0
    for words in (
        "llama, 86.3k, Q8_0", "2 layers, 64 wide, 4 heads", "gpt2, 96 tokens, end of text 95",
        "Q8_0", "general.name", "Small model", "tokenizer.ggml.tokens", "96 items",
        "CHAT TEMPLATE\n{{ messages[0].content }}",
    ):  # fmt: skip
        assert words in result.stdout, words


def test_the_document_has_everything(mlm, tmp_path: Path):
    path = g.llama().write(tmp_path / "small.gguf")
    document = mlm("inspect", path, "--json").json
    assert document["schema"] == "mlm.inspect/1"
    assert document["model"]["tokenizer"] == {
        "model": "gpt2", "n_tokens": 96, "bos_token_id": None, "eos_token_id": 95,
    }  # fmt: skip
    assert document["model"]["chat_template"] == "{{ messages[0].content }}"
    assert document["file_bytes"] == path.stat().st_size
    assert sum(kind["tensors"] for kind in document["types"]) == len(document["tensors"])
    assert document["metadata"]["llama.block_count"] == 2
    assert document["array_lengths"]["tokenizer.ggml.tokens"] == 96
    assert document["not_a_model"] is None


def test_other_gguf_files_are_shown_too(mlm, tmp_path: Path):
    made = g.GGUFFile().set("general.architecture", g.STRING, "clip")
    path = made.write(tmp_path / "mmproj.gguf")
    result = mlm("inspect", path)
    assert result.exit_code == 0
    assert "Not a model that can run alone: it is the vision or audio part" in result.stdout
    assert mlm("inspect", path, "--json").json["model"] is None


def test_escape_sequences_stay_out_of_the_terminal(mlm, tmp_path: Path):
    evil = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202ereversed"
    made = g.llama().set("general.name", g.STRING, evil).set("evil\x1b[2Jkey", g.STRING, "v")
    made.set("tokenizer.chat_template", g.STRING, f"{{{{ x }}}}{evil}\nsecond line")
    path = made.write(tmp_path / "evil.gguf")
    for words in ((), ("--json",)):
        text = mlm("inspect", path, *words).stdout
        assert not any(bad in text for bad in ("\x1b", "\x07", "\x9b", "\u202e"))
    assert "second line" in mlm("inspect", path).stdout


def test_a_model_on_the_hub_is_not_downloaded(mlm, hub: FakeHub, hub_cache: Path):
    hub.add("org/m-GGUF", File("m-Q8_0.gguf", g.llama().encode()))
    result = mlm("inspect", "org/m-GGUF/m-Q8_0.gguf")
    assert result.exit_code == 0
    assert "2 layers" in result.stdout
    assert not hub_cache.exists()


def test_the_bundled_model_can_be_inspected_offline(mlm):
    for ref in ("mlm-demo", "mlm-demo:Q8_0"):
        assert "mlm demo" in mlm("--offline", "inspect", ref).stdout


@pytest.mark.parametrize(
    ("ref", "code", "message"),
    [
        ("./none.gguf", 3, "there is no file"),
        ("no-such-model", 3, "no model is called"),
        ("qwen3-8b:Q4_K_M", 6, "stay offline"),
    ],
)
def test_what_cannot_be_inspected(mlm, ref: str, code: int, message: str):
    result = mlm("--offline", "inspect", ref)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_truncated_file_is_refused(mlm, tmp_path: Path):
    path = g.llama().write(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:50_000])
    result = mlm("inspect", path, "--json")
    assert result.exit_code == 5
    assert result.json["error"]["code"] == "gguf"
    assert "cut off" in result.json["error"]["message"]


def test_values_without_names_are_shown_as_unknown(mlm, tmp_path: Path):
    made = g.model().drop("general.file_type")
    result = mlm("inspect", made.write(tmp_path / "bare.gguf"))
    assert "none, 0 tokens, end of text unknown" in result.stdout
    assert "template" in result.stdout
