"""What people type to name a model."""

from pathlib import Path

import pytest

from mlm.errors import UsageError
from mlm.store.ref import HubRef, LocalRef, NameRef, parse_ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("qwen3-8b", NameRef("qwen3-8b")),
        ("qwen3-8b:Q4_K_M", NameRef("qwen3-8b", "Q4_K_M")),
        ("llama-3.1-8b", NameRef("llama-3.1-8b")),
        ("gone.gguf", NameRef("gone.gguf")),
        ("org/repo", HubRef("org/repo")),
        ("org/repo:Q4_K_M", HubRef("org/repo", quant="Q4_K_M")),
        ("org/repo/file.gguf", HubRef("org/repo", filename="file.gguf")),
        ("org/repo/a/b c.gguf", HubRef("org/repo", filename="a/b c.gguf")),
        ("/abs/x.gguf", LocalRef(Path("/abs/x.gguf"))),
        ("./x", LocalRef(Path("x"))),
        ("../x.gguf", LocalRef(Path("../x.gguf"))),
        ("~/x.gguf", LocalRef(Path.home() / "x.gguf")),
    ],
)
def test_a_ref_is_taken_apart(text: str, ref: object):
    assert parse_ref(text) == ref


def test_a_file_that_exists_needs_no_dot_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("mein modell.gguf").touch()
    assert parse_ref("mein modell.gguf") == LocalRef(Path("mein modell.gguf"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        ":Q4",
        "a b",
        "a//b",
        "org/",
        "org/repo:",
        "org/repo:a/b",
        "org/repo/",
        "org/re--po",
        "org/../x.gguf",
        "org/repo/../x.gguf",
        "org/repo/x.safetensors",
        "org/repo\\x.gguf",
        "http://host/x.gguf",
        "https://host/org/repo/x.gguf",
        "a\0b",
        "-x",
        "name\x1b[31m",
        "x" * 5000,
    ],
)
def test_what_cannot_be_a_model_is_refused(text: str):
    with pytest.raises(UsageError):
        parse_ref(text)


def test_a_ref_reads_as_it_was_typed():
    for text in ("qwen3-8b", "qwen3-8b:Q4_K_M", "org/repo", "org/repo:Q8_0", "org/repo/x/y.gguf"):
        assert str(parse_ref(text)) == text
