"""The quantizations in a repository."""

import pytest

from mlm.errors import NotFoundError, UsageError
from mlm.store.ref import parse_ref
from mlm.store.types import RemoteFile, RepoFiles
from mlm.store.variant import choose_variant, group_variants, read_quant


def repo(*names: str) -> RepoFiles:
    files = tuple(RemoteFile(name, 1000 + i, "0" * 64) for i, name in enumerate(names))
    return RepoFiles("org/repo", "1" * 40, files)


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("qwen3-8b-Q4_K_M.gguf", "Q4_K_M"),
        ("phi-2.Q8_0.gguf", "Q8_0"),
        ("Model.i1-IQ3_XXS.gguf", "i1-IQ3_XXS"),
        ("Qwen3-8B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("m-BF16-00001-of-00002.gguf", "BF16"),
        ("nomic-embed-text-v1.5.f16.gguf", "f16"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "q4"),
        ("m-TQ1_0.gguf", "TQ1_0"),
        ("BF16/m-00001-of-00002.gguf", "BF16"),
        ("model.gguf", None),
        ("q4ever.gguf", None),
    ],
)
def test_the_quantization_is_read_off_the_name(name: str, quant: str | None):
    assert read_quant(name) == quant


def test_shards_are_one_variant_and_side_files_none():
    files = repo(
        "m-Q8_0-00002-of-00002.gguf",
        "m-Q8_0-00001-of-00002.gguf",
        "m-Q4_K_M.gguf",
        "mmproj-F16.gguf",
    ).files
    variants = group_variants(files)
    assert {v.quant: [f.filename for f in v.files] for v in variants} == {
        "Q4_K_M": ["m-Q4_K_M.gguf"],
        "Q8_0": ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"],
    }


@pytest.mark.parametrize(
    ("ref", "filename"),
    [
        ("org/repo:Q4_K_M", "m-Q4_K_M.gguf"),
        ("org/repo:q4_k_m", "m-Q4_K_M.gguf"),
        ("org/repo:Q4_K_XL", "m-UD-Q4_K_XL.gguf"),
        ("org/repo:UD-Q4_K_XL", "m-UD-Q4_K_XL.gguf"),
        ("org/repo/m-Q4_K_M.gguf", "m-Q4_K_M.gguf"),
        ("org/repo/mmproj-F16.gguf", "mmproj-F16.gguf"),
    ],
)
def test_a_variant_is_found_by_quantization_or_file(ref: str, filename: str):
    files = repo("m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf", "mmproj-F16.gguf")
    assert choose_variant(files, parse_ref(ref)).filename == filename


def test_any_shard_stands_for_all():
    files = repo("m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf")
    chosen = choose_variant(files, parse_ref("org/repo/m-Q8_0-00002-of-00002.gguf"))
    assert [f.filename for f in chosen.files] == [f.filename for f in files.files]


def test_the_only_variant_needs_no_name():
    assert choose_variant(repo("model.gguf"), parse_ref("org/repo")).filename == "model.gguf"


def test_among_several_one_must_be_chosen():
    with pytest.raises(UsageError, match=r"Q4_K_M, Q8_0: say which") as failure:
        choose_variant(repo("m-Q4_K_M.gguf", "m-Q8_0.gguf"), parse_ref("org/repo"))
    assert failure.value.remedy == "mlm download org/repo:Q4_K_M"


def test_two_files_of_one_quantization_must_be_told_apart():
    with pytest.raises(UsageError, match=r"a-Q4_0\.gguf, b-Q4_0\.gguf"):
        choose_variant(repo("a-Q4_0.gguf", "b-Q4_0.gguf"), parse_ref("org/repo:Q4_0"))


def test_an_unknown_quantization_names_what_there_is():
    with pytest.raises(NotFoundError, match="has no Q4_K_S; it has Q4_K_M, Q8_0") as failure:
        choose_variant(repo("m-Q4_K_M.gguf", "m-Q8_0.gguf"), parse_ref("org/repo:Q4_K_S"))
    assert failure.value.remedy == "mlm download org/repo:Q4_K_M"


def test_an_unknown_file_names_the_nearest():
    with pytest.raises(NotFoundError, match=r"near it: m-Q4_K_M\.gguf"):
        choose_variant(repo("m-Q4_K_M.gguf", "zzz.gguf"), parse_ref("org/repo/m-Q4_K_S.gguf"))


def test_a_repository_without_models_says_so():
    with pytest.raises(NotFoundError, match="holds no GGUF file"):
        choose_variant(repo("mmproj-F16.gguf"), parse_ref("org/repo:Q4_K_M"))


def test_a_missing_shard_is_noticed_before_anything_is_fetched():
    with pytest.raises(NotFoundError, match="lacks shard 2 of 3"):
        choose_variant(
            repo("m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"),
            parse_ref("org/repo:Q8_0"),
        )
