"""Names that others chose: what may become a path and what may not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.store.names import (
    is_commit,
    is_filename,
    is_model_name,
    is_quant,
    is_repo_id,
    is_revision,
    is_sha256,
    split_shard,
)

HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a/..",
    "a//b",
    "a/",
    "./a",
    "a\\b",
    "..\\x",
    "C:x",
    "\0",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\u202egpj.exe",
    "a\u200bb",
    "\ud800",
    "e\u0301.gguf",  # not NFC: two names for one file on macOS
    "x" * 256,
    "ä" * 128,
    "/".join(["x" * 200] * 6),
    "~/x/../..",
    "%2e%2e/%2e%2e/..",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_refused_everywhere(text: str):
    assert not is_filename(text)
    assert not is_revision(text)
    assert not is_repo_id(text)
    assert not is_repo_id(f"org/{text}")
    assert not is_model_name(text)
    assert not is_quant(text)
    assert not is_commit(text)
    assert not is_sha256(text)


@pytest.mark.parametrize("value", [None, 5, [], {}, True, b"a" * 40])
def test_what_is_no_text_is_no_name(value: object):
    assert not is_filename(value)
    assert not is_commit(value)
    assert not is_sha256(value)


@pytest.mark.parametrize(
    "text", ["x.gguf", "a/b/c.gguf", "ü x.gguf", "模型.gguf", "..x", "x..y", "-x", ".hidden"]
)
def test_ordinary_names_pass(text: str):
    assert is_filename(text)


@given(st.text(max_size=60))
def test_no_name_that_passes_leaves_its_folder(text: str):
    if is_filename(text):
        base = Path("/store/models")
        assert (base / text).resolve(strict=False).is_relative_to(base)


@pytest.mark.parametrize("text", ["TheBloke/Llama-2-7B-Chat-GGUF", "a/b", "org/x_y.z-1"])
def test_repositories_are_recognised(text: str):
    assert is_repo_id(text)


@pytest.mark.parametrize(
    "text",
    ["gpt2", "a/b/c", "a/b--c", "a--b/c", "-a/b", "a/.b", "a/b.", "a/b.git", "a/" + "b" * 96],
)
def test_what_the_hub_does_not_allow_is_no_repository(text: str):
    assert not is_repo_id(text)


def test_revisions_may_have_slashes_but_look_like_no_option():
    assert is_revision("refs/pr/1")
    assert not is_revision("-rf")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.gguf", ("a", 1, 1)),
        ("d/a-Q4_K_M-00002-of-00003.gguf", ("d/a-Q4_K_M", 2, 3)),
        ("a-2-of-3.gguf", ("a-2-of-3", 1, 1)),
    ],
)
def test_shards_are_told_from_whole_files(name: str, parts: tuple[str, int, int]):
    assert split_shard(name) == parts
