"""What is wrong with a catalog file, said with its place."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.catalog_file import GONE, SMALL, bend
from hypothesis import given
from hypothesis import strategies as st

from mlm import strictyaml
from mlm.catalog.files import read_schema
from mlm.catalog.load import load_catalog
from mlm.catalog.parse import parse_family
from mlm.catalog.schema import find_violations
from mlm.catalog.validate import check_document, check_files
from mlm.planning.sizes import doubt_size

M = ("models", 0)
A = (*M, "architecture")
Q = (*M, "quants", 0)

SHARDS = [
    {"filename": "a-00001-of-00002.gguf", "size_bytes": 500_000_000},
    {"filename": "a-00002-of-00002.gguf", "size_bytes": 600_000_000, "sha256": "cd" * 32},
]
PROJECTOR = {
    "repo_id": "me/House-GGUF", "filename": "mmproj-F16.gguf", "size_bytes": 9, "source": "me",
}  # fmt: skip


def split(change: dict[tuple[str | int, ...], Any]) -> dict[tuple[str | int, ...], Any]:
    """Return a change that makes the first quantization a set of shards, and then ``change``."""
    whole = {"filename": SHARDS[0]["filename"], "n_files": 2, "shards": copy.deepcopy(SHARDS)}
    return {**{(*Q, key): value for key, value in whole.items()}, **change}


BAD: list[tuple[dict[tuple[str | int, ...], Any], str]] = [
    ({("family",): GONE}, "'family' is missing"),
    ({("family",): "No Spaces"}, "does not match"),
    ({("family",): 3}, "must be text, not 3"),
    ({("extra",): 1}, "unknown field 'extra'"),
    ({("sources",): []}, "must be a mapping, not a list"),
    ({("sources",): {"me": "x"}}, "is too short"),
    ({("sources",): {"Bad Key": "long enough", "me": "long enough"}}, "'Bad Key' does not match"),
    ({("sources",): {"me": "long enough", "idle": "long enough"}}, "nothing comes from 'idle'"),
    ({("models",): []}, "must not be empty"),
    ({("models",): "none"}, "must be a list"),
    ({(*M, "model_id"): "UPPER"}, "does not match"),
    ({(*M, "model_id"): "../evil"}, "does not match"),
    ({(*M, "aliases"): ["house-1b"]}, "'house-1b' is taken"),
    ({(*M, "aliases"): ["a", "a"]}, "the same item twice"),
    ({(*M, "licence"): "MIT"}, "did you mean 'license'?"),
    ({(*M, "license"): GONE}, "'license' is missing"),
    ({(*M, "license"): "MIT or so"}, "does not match"),
    ({(*M, "params"): "8B"}, "must be an integer, not '8B'"),
    ({(*M, "params"): 8.03}, "must be an integer, not 8.03"),
    ({(*M, "params"): True}, "must be an integer, not True"),
    ({(*M, "params"): 0}, "less than 1000"),
    ({(*M, "params_active"): 2_000_000_000}, "more than params"),
    ({(*M, "released"): "2024"}, "does not match"),
    ({(*M, "gated"): "yes"}, "must be a boolean"),
    ({(*M, "use_cases"): []}, "must not be empty"),
    ({(*M, "use_cases"): ["cooking"]}, "'cooking' is none of chat, code"),
    ({(*M, "source"): "him"}, "'him' is not in sources"),
    ({(*M, "name"): None}, "must be text, not empty"),
    ({(*M, "name"): "a\u202eb"}, "control characters"),
    ({(*M, "name"): "x" * 500}, "longer than 120"),
    ({(*M, "quality"): {"cooking": 3}}, "none of chat"),
    ({(*M, "quality"): {"chat": 101}}, "more than 100"),
    ({(*M, "scores", 0, "unit"): "points per game"}, "none of %, Elo, points"),
    ({(*M, "scores", 0, "source"): "him"}, "'him' is not in sources"),
    ({A: GONE}, "'architecture' is missing"),
    ({(*A, "n_layer"): 0}, "less than 1"),
    ({(*A, "n_layer"): 10**9}, "more than 10000000"),
    ({(*A, "n_head_kv"): 5}, "does not divide n_head"),
    ({(*A, "n_expert"): 8}, "belong together"),
    ({(*A, "n_expert"): 2, (*A, "n_expert_used"): 4}, "more than n_expert"),
    ({(*A, "n_layer_attention"): 17}, "more than n_layer"),
    ({(*A, "colour"): "red"}, "unknown field 'colour'"),
    ({(*M, "quants"): []}, "must not be empty"),
    ({(*Q, "quant"): "q8_0"}, "does not match"),
    ({(*Q, "quant"): "Q4_K_M"}, "Q4_K_M is here twice"),
    ({(*Q, "repo_id"): "no-slash"}, "does not match"),
    ({(*Q, "repo_id"): "../a/b"}, "does not match"),
    ({(*Q, "filename"): "/etc/passwd.gguf"}, "does not match"),
    ({(*Q, "filename"): "a/../b.gguf"}, "does not match"),
    ({(*Q, "filename"): "a\\b.gguf"}, "does not match"),
    ({(*Q, "filename"): "model.bin"}, "does not match"),
    ({(*Q, "filename"): "a.gguf\n"}, "does not match"),
    ({(*Q, "revision"): "a b"}, "does not match"),
    ({(*Q, "size_bytes"): -1}, "less than 1"),
    ({(*Q, "size_bytes"): 8_000_000}, "bits per weight cannot be"),
    ({(*Q, "size_bytes"): 80_000_000_000}, "bits per weight cannot be"),
    ({(*Q, "sha256"): "abc"}, "does not match"),
    ({(*Q, "sha256"): "AB" * 32}, "does not match"),
    ({(*Q, "sha256_verified"): True}, "true without a sha256"),
    ({(*M, "quants", 1, "n_files"): 2}, "belongs to one file"),
    ({(*Q, "n_files"): 3, (*Q, "filename"): "a-00001-of-00002.gguf"}, "3 does not go with a-0000"),
    ({(*Q, "filename"): "a-00001-of-00002.gguf"}, "1 does not go with a-0000"),
    (split({(*Q, "shards", 0, "filename"): "b-00001-of-00002.gguf"}), "all files of the set"),
    (split({(*Q, "shards", 1): GONE}), "must not be empty"),
    (split({(*Q, "shards", 1, "size_bytes"): 7}), "the shards have 500000007 bytes together"),
    (split({(*Q, "shards", 1, "colour"): "red"}), "unknown field 'colour'"),
    ({(*M, "mmproj"): []}, "must not be empty"),
    ({(*M, "mmproj"): [PROJECTOR, dict(PROJECTOR)]}, "me/House-GGUF is here twice"),
    ({(*M, "mmproj"): [{**PROJECTOR, "filename": "../a.gguf"}]}, "does not match"),
    ({(*M, "mmproj"): [{**PROJECTOR, "source": "him"}]}, "'him' is not in sources"),
    ({(*M, "mmproj"): [{**PROJECTOR, "sha256_verified": True}]}, "true without a sha256"),
]
DOUBTFUL: list[tuple[dict[tuple[str | int, ...], Any], str, str]] = [
    ({(*M, "quality"): {"chat": 33}}, "not what the scores give", "write quality: {chat: 32}"),
    ({(*M, "quality"): GONE}, "not what the scores give", "write quality: {chat: 32}"),
    ({(*M, "scores"): GONE}, "not what the scores give", "take it out"),
    ({(*M, "use_cases"): ["vision"]}, "vision needs a projector", "under mmproj"),
]


def check(value: object) -> list[str]:
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    return [str(problem) for problem in check_document(strictyaml.parse(text, source="x.yaml"))]


def test_the_small_file_is_in_order():
    assert check(SMALL) == []


@pytest.mark.parametrize(("change", "problem"), BAD)
def test_what_is_wrong_is_said_with_its_place(change, problem: str):
    found = check(bend(change))
    assert any(problem in line for line in found), found
    assert all(line.startswith("x.yaml:") for line in found)


def test_a_set_of_shards_and_a_projector_are_in_order():
    assert check(bend(split({(*M, "mmproj"): [PROJECTOR]}))) == []


@pytest.mark.parametrize(("change", "problem", "remedy"), DOUBTFUL)
def test_what_a_file_may_not_say_is_told_with_a_remedy_but_can_be_used(
    tmp_path: Path, change, problem: str, remedy: str
):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(bend(change), sort_keys=False), encoding="utf-8")
    [found] = check_files([path])[path]
    assert problem in found.problem and remedy in str(found.remedy)
    assert load_catalog(tmp_path, tmp_path / "cache").find("house-1b")


def test_a_size_that_cannot_be_is_told_where_it_stands(tmp_path: Path):
    path = tmp_path / "x.yaml"
    text = yaml.safe_dump(SMALL, sort_keys=False).replace("650000000", "1010000000")
    path.write_text(text, encoding="utf-8")
    [found] = check_files([path], doubt_size)[path]
    line = next(n for n, line in enumerate(text.splitlines(), 1) if "1010000000" in line)
    assert found.where.startswith(f"{path}:{line}:")
    assert "963 MiB is not the size of house-1b at Q4_K_M: about 584 MiB" in found.problem


def test_a_name_that_another_file_has_taken_is_told_with_both_places(tmp_path: Path):
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path, name in zip(paths, ("house-1b", "barn-1b"), strict=True):
        document = bend({(*M, "model_id"): name})
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    found = check_files(paths)
    assert found[paths[0]] == []
    [problem] = found[paths[1]]
    assert problem.problem == f"the name 'house' is taken at {paths[0]}:5:3"


def test_what_a_field_should_be_is_told_with_what_is_wrong():
    document = strictyaml.parse(
        yaml.safe_dump(bend({(*M, "license"): "MIT or so"}), sort_keys=False), source="x.yaml"
    )
    [problem] = check_document(document)
    assert problem.remedy == "SPDX identifier, or LicenseRef-*."


def test_the_model_and_the_field_are_named():
    text = yaml.safe_dump(SMALL, sort_keys=False).replace("n_layer: 16", "n_layer: many")
    line = text.splitlines().index("    n_layer: many") + 1
    [problem] = check_document(strictyaml.parse(text, source="x.yaml"))
    assert str(problem) == (
        f"x.yaml:{line}:5: house-1b: architecture.n_layer: must be an integer, not 'many'"
    )


def test_everything_that_is_wrong_is_said_at_once():
    found = check(bend({(*M, "license"): GONE, (*Q, "size_bytes"): "big", (*A, "n_head"): 0}))
    assert len(found) == 3


@pytest.mark.parametrize("value", [None, 3, [], "text", {}, {"models": [3]}, {"models": {"a": 1}}])
def test_a_file_of_another_shape_is_refused_and_nothing_crashes(value: object):
    assert check(value)


def test_a_file_that_is_not_yaml_is_one_problem_with_its_place(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    path.write_text("family: [house\n", encoding="utf-8")
    [problem] = check_files([path])[path]
    assert problem.where.startswith(f"{path}:2:")


def test_the_schema_uses_only_keywords_that_are_enforced():
    with pytest.raises(ValueError, match="oneOf"):
        find_violations({}, {"type": "object", "oneOf": []})
    assert find_violations(SMALL, read_schema()) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
places = st.sampled_from(
    [("family",), ("sources",), ("models",), M, A, Q]
    + [(*M, key) for key in SMALL["models"][0]]
    + [(*Q, key) for key in SMALL["models"][0]["quants"][0]]
)


@given(places, anything)
def test_whatever_is_put_anywhere_it_is_refused_or_can_be_parsed(place, value):
    document: Any = copy.deepcopy(SMALL)
    where = document
    for step in place[:-1]:
        where = where[step]
    where[place[-1]] = value
    positions: dict[Any, tuple[int, int]] = {}
    if not check_document(strictyaml.Document(document, "x.yaml", positions)):
        assert parse_family(document)
