"""``mlm inspect``: every header can be looked at, and none can command the terminal."""

from pathlib import Path

import pytest
import yaml
from fakes import gguf_files as g
from fakes.catalog_file import SMALL
from fakes.hub import FakeHub, File

from mlm.demo.hub import DEMO_FILE
from mlm.gguf.header import read_header
from mlm.gguf.source import FileSource

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


# --lint


def findings(result) -> list[tuple[str, str]]:
    return [(f["severity"], f["code"]) for f in result.json["lint"]["findings"]]


def write_damaged(path: Path) -> Path:
    """Write the demo model with a scale of NaN in one of its blocks."""
    with FileSource(DEMO_FILE) as source:
        header = read_header(source)
    tensor = next(tensor for tensor in header.tensors if tensor.type_name == "Q8_0")
    data, start = bytearray(DEMO_FILE.read_bytes()), header.header_bytes + tensor.offset
    data[start : start + 2] = b"\x00\x7e"
    path.write_bytes(data)
    return path


def test_a_sound_model_passes_the_close_look(mlm):
    result = mlm("inspect", DEMO_FILE, "--lint")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].endswith(": sound, as far as can be seen")
    document = mlm("inspect", DEMO_FILE, "--lint", "--full", "--json").json
    assert document["schema"] == "mlm.inspect/1"
    assert document["lint"] == {"ok": True, "findings": []}
    assert document["model"]["architecture"] == "llama"
    assert "tokenizer.ggml.tokens" not in document["metadata"]


def test_a_damaged_model_fails_it_with_what_why_and_what_to_do(mlm, tmp_path: Path):
    path = write_damaged(tmp_path / "damaged.gguf")
    result = mlm("inspect", path, "--lint")
    assert result.exit_code == 5
    assert "error tensor-nan: NaN or infinity in" in result.stdout
    assert "fix: mlm verify" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    document = mlm("inspect", path, "--lint", "--json")
    assert document.exit_code == 5
    assert findings(document) == [("error", "tensor-nan")]
    assert document.json["lint"]["ok"] is False
    assert mlm("inspect", path).exit_code == 0, "without --lint nothing is judged"


def test_a_file_that_cannot_be_read_is_a_finding_too(mlm, tmp_path: Path):
    path = g.llama().write(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:50_000])
    result = mlm("inspect", path, "--lint", "--json")
    assert result.exit_code == 5
    assert findings(result) == [("error", "header")]
    assert "cut off" in result.json["lint"]["findings"][0]["what"]


def test_the_template_is_tried_too(mlm, tmp_path: Path):
    made = g.llama().set("tokenizer.chat_template", g.STRING, "{{ messages[0].content")
    result = mlm("inspect", made.write(tmp_path / "m.gguf"), "--lint", "--json")
    assert ("error", "template-broken") in findings(result)


def test_a_part_that_is_missing_is_named(mlm, tmp_path: Path):
    made = g.llama().set("split.count", g.U16, 2).set("split.no", g.U16, 0)
    path = made.write(tmp_path / "m-00001-of-00002.gguf")
    result = mlm("inspect", path, "--lint", "--json")
    assert ("error", "shard-missing") in findings(result)
    (missing,) = (f for f in result.json["lint"]["findings"] if f["code"] == "shard-missing")
    assert "m-00002-of-00002.gguf" in missing["what"]


def test_a_projector_beside_the_model_has_to_fit(mlm, tmp_path: Path):
    path = tmp_path / "m.gguf"
    path.write_bytes(DEMO_FILE.read_bytes())
    clip = g.GGUFFile().set("general.architecture", g.STRING, "clip")
    clip.set("clip.vision.projection_dim", g.U32, 4096).write(tmp_path / "mmproj-F16.gguf")
    assert findings(mlm("inspect", path, "--lint", "--json")) == [("warn", "mmproj")]
    (tmp_path / "mmproj-F16.gguf").write_bytes(b"<!doctype html>")
    assert findings(mlm("inspect", path, "--lint", "--json")) == [("error", "mmproj")]


def test_of_a_model_on_the_hub_the_header_is_looked_at(mlm, hub: FakeHub, hub_cache: Path):
    hub.add("org/m-GGUF", File("m-Q8_0.gguf", DEMO_FILE.read_bytes()))
    result = mlm("inspect", "org/m-GGUF/m-Q8_0.gguf", "--lint", "--json")
    assert (result.exit_code, findings(result)) == (0, [("info", "not-checked")])
    assert not hub_cache.exists()


def test_a_file_other_than_the_catalogs_is_told(mlm, hub: FakeHub, home: Path):
    hub.add("me/House-GGUF", File("house.Q4_K_M.gguf", DEMO_FILE.read_bytes()))
    ref = "me/House-GGUF/house.Q4_K_M.gguf"
    assert mlm("download", ref, "--json").exit_code == 0
    (home / "catalog").mkdir()
    (home / "catalog" / "house.yaml").write_text(yaml.safe_dump(SMALL))
    result = mlm("inspect", ref, "--lint", "--json")
    assert ("warn", "pin") in findings(result)
