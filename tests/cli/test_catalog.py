"""``mlm catalog``: list, show, validate."""

import json
from pathlib import Path

import pytest

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

SMALL = """\
family: house
sources: {me: "measured at home"}
models:
  - model_id: house-1b
    aliases: [house]
    name: House-1B
    params: 1000000000
    architecture: {name: llama, n_layer: 16, n_embd: 2048, n_head: 32, n_head_kv: 8,
                   head_dim: 64, n_vocab: 32000, n_ctx_train: 4096}
    license: MIT
    use_cases: [chat]
    source: me
    quants:
      - {quant: Q8_0, repo_id: me/House-GGUF, filename: house.Q8_0.gguf, size_bytes: 1100000000,
         source: me}
"""


@pytest.fixture
def own_file(home: Path) -> Path:
    """A catalog file of the user's own."""
    path = home / "catalog" / "house.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_the_list_has_every_model_that_users_asked_for(mlm):
    models = {model["model"]: model for model in mlm("catalog", "list", "--json").json["models"]}

    assert {
        "llama-2-7b-chat", "phi-2", "mistral-7b-instruct", "mixtral-8x7b", "mixtral-8x22b",
        "llama-3.1-8b", "gemma-2-2b", "nomic-embed-text-v1.5", "qwen3-8b", "mlm-demo",
    } <= set(models)  # fmt: skip
    assert "Q4_K_M" in models["qwen3-8b"]["quants"]
    assert sum(len(model["quants"]) for model in models.values()) >= 40
    assert len({model["family"] for model in models.values()}) >= 12


def test_the_list_fits_eighty_columns(mlm):
    result = mlm("catalog", "list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["MODEL", "PARAMS", "CONTEXT", "SIZE", "USE"]
    assert max(len(line) for line in lines) <= 80
    assert any(line.startswith("llama-3.1-8b ") and "8.03B" in line for line in lines)


def test_the_list_can_be_narrowed_to_a_use(mlm):
    models = mlm("catalog", "list", "--use", "embedding", "--json").json["models"]
    assert {"nomic-embed-text-v1.5"} <= {model["model"] for model in models}
    assert all("embedding" in model["use_cases"] for model in models)


def test_show_prints_the_facts_the_files_and_their_sources(mlm):
    result = mlm("catalog", "show", "llama-3.1-8b")
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    for words in ("llama: 32 layers, 32 heads, 8 KV heads of 128", "128k tokens", "gated", "✓"):
        assert words in result.stdout


def test_show_as_json_gives_every_field_with_its_source(mlm):
    model = mlm("catalog", "show", "Llama-3.1-8B-Instruct:q4_k_m", "--json").json["model"]
    [quant] = model["quants"]
    assert (model["model_id"], quant["quant"]) == ("llama-3.1-8b", "Q4_K_M")
    assert len(quant["sha256"]) == 64
    assert quant["source"] and model["source"] and all(s["source"] for s in model["scores"])


def test_an_unknown_model_is_not_found_and_the_nearest_names_are_offered(mlm):
    result = mlm("catalog", "show", "lama-3.1-8b")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "near it: llama-3.1-8b" in result.stderr
    assert "hint: mlm catalog show llama-3.1-8b" in result.stderr


def test_an_unknown_quant_is_not_found_and_those_there_are_are_named(mlm):
    result = mlm("catalog", "show", "phi-2:Q5_K_L")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "Q4_K_M" in result.stderr
    assert "hint: use phi-2:Q5_K_M" in result.stderr


def test_a_model_of_my_own_is_in_the_list(mlm, own_file):
    models = mlm("catalog", "list", "--json").json["models"]
    assert "house-1b" in {model["model"] for model in models}


def test_a_file_of_my_own_that_is_no_yaml_comes_with_a_way_on(mlm, own_file):
    own_file.write_text("models: &a [*a]")
    result = mlm("catalog", "list")
    assert result.exit_code == 2
    assert f"{own_file}:1:9: anchors" in result.stderr
    assert f"hint: mlm catalog validate {own_file}" in result.stderr


def test_a_broken_file_of_my_own_is_named_with_line_and_remedy(mlm, own_file):
    own_file.write_text(SMALL.replace("n_head_kv: 8", "n_head_kv: eight"), encoding="utf-8")

    result = mlm("catalog", "list")

    assert result.exit_code == ExitCode.USAGE
    assert f"{own_file}:8:72: house-1b: architecture.n_head_kv" in result.stderr
    assert f"hint: mlm catalog validate {own_file}" in result.stderr


def test_the_shipped_catalog_is_in_order(mlm):
    result = mlm("catalog", "validate")
    assert result.exit_code == ExitCode.OK
    assert result.stdout.strip().endswith("all in order")


def test_validate_says_everything_that_is_wrong_and_exits_with_usage(mlm, own_file):
    own_file.write_text(
        SMALL.replace("license: MIT", "licence: MIT").replace("[chat]", "[cooking]"),
        encoding="utf-8",
    )

    result = mlm("catalog", "validate", own_file, "--json")

    assert result.exit_code == ExitCode.USAGE
    [file] = result.json["files"]
    assert not file["ok"]
    problems = {problem["problem"] for problem in file["problems"]}
    assert "'license' is missing" in problems
    assert "licence: unknown field 'licence'; did you mean 'license'?" in problems
    assert any(problem.startswith("use_cases: 'cooking' is none of") for problem in problems)


def test_validate_without_files_looks_across_files_too(mlm, own_file):
    (own_file.parent / "twin.yaml").write_text(SMALL, encoding="utf-8")
    result = mlm("catalog", "validate")
    assert result.exit_code == ExitCode.USAGE
    assert "twin.yaml:4:5: house-1b: the name 'house-1b' is taken at" in result.stdout
    assert "hint: choose another name" in result.stdout


def test_validate_of_a_missing_file_is_not_found(mlm, tmp_path: Path):
    result = mlm("catalog", "validate", tmp_path / "nowhere.yaml", "--json")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert json.loads(result.stdout)["error"]["code"] == "not_found"


def test_a_family_with_markup_in_its_name_is_printed_as_it_is(mlm, own_file):
    own_file.write_text(SMALL.replace("House-1B", '"[red]House[/red]"'), encoding="utf-8")
    assert "[red]House[/red]" in mlm("catalog", "show", "house").stdout
