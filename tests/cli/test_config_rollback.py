"""``mlm config rollback``: back to what was, and back again."""

from pathlib import Path

import pytest
from fakes import gguf_files as g

from mlm.errors import ExitCode
from mlm.planning.config_file import read_config
from mlm.planning.config_versions import list_versions

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return g.llama().write(tmp_path / "small.gguf")


@pytest.fixture
def config(mlm, home: Path, model: Path) -> Path:
    for threads in (1, 2, 3):
        mlm("config", "generate", model, "--threads", str(threads))
    return home / "config" / "small.yaml"


def test_one_step_back_and_again_forth(mlm, config: Path, model: Path):
    result = mlm("config", "rollback", model)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{config} is again as it was 20")
    assert read_config(config).n_threads == 2
    mlm("config", "rollback", model)
    assert read_config(config).n_threads == 3


def test_further_back_by_the_number_of_the_list(mlm, config: Path, model: Path):
    listed = mlm("config", "rollback", model, "--list")
    lines = listed.stdout.splitlines()
    assert lines[0].split() == ["VERSION", "WRITTEN", "WHAT"]
    assert [line.split()[0] for line in lines[1:]] == ["2", "1"]
    assert "balanced, 4 slots of 512 tokens, cache f16" in lines[1]
    assert mlm("config", "rollback", model, "--to", "1").exit_code == 0
    assert read_config(config).n_threads == 1
    document = mlm("config", "rollback", model, "--list", "--json").json
    assert document["schema"] == "mlm.config.versions/1"
    assert [row["number"] for row in document["versions"]] == [3, 2]
    assert document["versions"][0]["written_at"] > 1_700_000_000


def test_as_a_document(mlm, config: Path, model: Path):
    document = mlm("config", "rollback", model, "--json").json
    assert (document["schema"], document["restored"]) == ("mlm.config/1", 2)
    assert document["n_threads"] == 2
    assert document["path"] == str(config)


def test_what_was_deleted_comes_back(mlm, config: Path, model: Path):
    config.unlink()
    assert mlm("config", "rollback", model).exit_code == 0
    assert read_config(config).n_threads == 2


def test_a_model_that_is_gone_or_was_never_here_needs_no_hub(mlm, config: Path, model: Path):
    model.unlink()
    assert mlm("--offline", "config", "rollback", model).exit_code == 0
    assert read_config(config).n_threads == 2


@pytest.mark.parametrize("ref", ["qwen3-8b", "org/repo:Q4_K_M", "./none.gguf"])
def test_where_nothing_was_kept_that_is_said(mlm, ref: str):
    result = mlm("--offline", "config", "rollback", ref)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "no earlier config of" in result.stderr
    assert "hint: " in result.stderr
    assert (
        mlm("--offline", "config", "rollback", ref, "--list").stdout == "nothing earlier is kept\n"
    )


def test_a_number_that_is_not_there(mlm, config: Path, model: Path):
    result = mlm("config", "rollback", model, "--to", "7")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "--list" in result.stderr
    assert read_config(config).n_threads == 3


def test_a_broken_version_is_not_gone_back_to(mlm, config: Path, model: Path):
    config.write_text("n_ctx: [1, 2")
    mlm("config", "generate", model, "--threads", "3")
    result = mlm("config", "rollback", model)
    assert result.exit_code == ExitCode.USAGE
    assert "small.yaml.3:" in result.stderr
    assert read_config(config).n_threads == 3
    assert [v.number for v in list_versions(config)] == [3, 2, 1]
    rows = mlm("config", "rollback", model, "--list", "--json").json["versions"]
    assert "small.yaml.3:" in rows[0]["problem"]
    assert rows[0]["summary"] is None
