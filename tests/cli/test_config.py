"""``mlm config``: a file per model that says why each value is what it is."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import gguf_files as g
from fakes.facts import entry, machine, quant

from mlm.cli._runtime_config import choose_config
from mlm.planning.config_file import format_config, read_config
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return g.llama().write(tmp_path / "small.gguf")


def test_generate_writes_a_file_with_reasons(mlm, home: Path, model: Path):
    result = mlm("config", "generate", model, "--ctx", "256", "--parallel", "2")
    assert result.exit_code == 0
    path = home / "config" / "small.yaml"
    assert result.stdout == f"wrote {path}\n"
    assert "# as you asked\nn_parallel: 2\n" in path.read_text()
    assert read_config(path).n_ctx == 512


def test_generate_as_a_document(mlm, home: Path, model: Path):
    document = mlm("config", "generate", model, "--json", "--threads", "1").json
    assert document["schema"] == "mlm.config/1"
    assert document["model"] == "small"
    assert document["path"] == str(home / "config" / "small.yaml")
    assert document["n_threads"] == 1
    assert document["reasons"]["n_threads"] == "as you asked"


def test_show_prints_what_is_kept(mlm, home: Path, model: Path):
    mlm("config", "generate", model, "--threads", "1")
    path = home / "config" / "small.yaml"
    assert mlm("config", "show", model).stdout == path.read_text()
    document = mlm("config", "show", model, "--json").json
    assert document["n_threads"] == 1
    assert document["reasons"]["n_threads"] == "as you asked"


def test_show_without_a_file_says_what_would_be_chosen(mlm, home: Path, model: Path):
    result = mlm("config", "show", model)
    assert result.exit_code == 0
    assert "n_ctx: 2048" in result.stdout
    assert "mlm config generate" in result.stderr
    assert not home.joinpath("config").exists()
    assert mlm("config", "show", model, "--json").json["path"] is None


def test_a_broken_file_is_named_by_line_and_key(mlm, home: Path, model: Path):
    mlm("config", "generate", model)
    path = home / "config" / "small.yaml"
    path.write_text(path.read_text().replace("use_mmap: true", "use_mmap: perhaps"))
    result = mlm("config", "show", model)
    assert result.exit_code == 2
    line = path.read_text().splitlines().index("use_mmap: perhaps") + 1
    assert f"{path}:{line}:1: use_mmap is 'perhaps'" in result.stderr


def test_a_catalog_model_gets_a_config_before_it_is_downloaded(mlm, home: Path):
    result = mlm("--offline", "config", "generate", "llama-3.2-1b:Q4_K_M", "--threads", "1")
    assert result.exit_code == 0
    assert (home / "config" / "llama-3.2-1b@Q4_K_M.yaml").is_file()


def test_a_config_is_kept_under_the_name_that_will_be_served(mlm, home: Path):
    mlm("--offline", "config", "generate", "llama-3.2-1b", "--threads", "1")
    assert (home / "config" / "llama-3.2-1b.yaml").is_file()


def test_a_model_that_does_not_fit_is_mentioned(mlm):
    result = mlm("--offline", "config", "generate", "mixtral-8x22b:Q8_0")
    assert result.exit_code in (0, 3)
    if result.exit_code == 0:
        assert "but cpu needs" in result.stderr


def test_an_unknown_model_has_no_config(mlm):
    assert mlm("--offline", "config", "show", "no-such-model").exit_code == 3


def test_a_file_that_is_no_yaml_comes_with_a_way_on(mlm, home: Path, model: Path):
    mlm("config", "generate", model)
    (path,) = home.joinpath("config").iterdir()
    path.write_text("n_ctx: [1, 2")
    for command in (("config", "show"), ("plan",)):
        result = mlm(*command, model)
        assert result.exit_code == 2
        assert f"{path}:" in result.stderr
        assert "hint: correct it, or write a new one: mlm config generate REF" in result.stderr


def test_a_profile_is_aimed_at_and_what_it_misses_is_said(mlm, home: Path, model: Path):
    result = mlm("config", "generate", model, "--profile", "production", "--users", "3")
    assert result.exit_code == 0
    config = read_config(home / "config" / "small.yaml")
    assert (config.profile, config.n_parallel, config.cache_ttl_s) == ("production", 3, 3600)
    assert "n_ctx_slot is 512, not 8192: the model was trained for no more" in result.stderr
    document = mlm("config", "generate", model, "--profile", "production", "--json").json
    assert document["unmet"][0].startswith("n_ctx_slot is 512, not 8192")
    assert document["profile"] == "production"
    assert mlm("config", "generate", model, "--profile", "fast").exit_code == 2
    assert mlm("config", "generate", model, "--users", "257").exit_code == 2


def test_without_a_profile_it_is_what_would_be_served_anyway(mlm, model: Path):
    planned = mlm("config", "show", model, "--json").json
    written = mlm("config", "generate", model, "--json").json
    assert written["profile"] == "balanced"
    assert written["verdict"] == "fits"
    differs = {key for key in written if written[key] != planned.get(key)}
    assert differs == {"path", "unmet"}


def test_what_fits_no_more_is_said_where_it_is_shown(mlm, home: Path, model: Path):
    mlm("config", "generate", model, "--ctx", "512")
    path = home / "config" / "small.yaml"
    path.write_text(path.read_text().replace("n_ctx: 2048", "n_ctx: 2000000000"))
    result = mlm("config", "show", model)
    assert result.exit_code == 0
    assert "but cpu needs" in result.stderr
    assert "mlm config diff" in result.stderr
    assert mlm("config", "show", model, "--json").json["verdict"] == "does_not_fit"
    assert mlm("plan", model).exit_code == 4


def test_what_is_typed_changes_nothing_else_of_a_file(tmp_path: Path):
    shape, box = shape_from_catalog(entry(), quant()), machine(32)
    kept = {
        "n_threads_batch": 7, "n_cpu_moe": 2, "use_mmap": False, "use_mlock": True,
        "kv_unified": True, "swa_full": True, "cache_ttl_s": 5, "max_tokens": 9,
        "profile": "production", "prefix_cache": 12345, "vision": False,
    }  # fmt: skip
    config = replace(plan_runtime(shape, box, Overrides()), **kept)  # type: ignore[arg-type]
    path = tmp_path / "m.yaml"
    path.write_text(format_config(config, "m"))
    chosen = choose_config(path, shape, box, Overrides(n_ctx_slot=1000))
    assert chosen.n_ctx_slot == 1000
    assert {name: getattr(chosen, name) for name in kept} == kept
    assert choose_config(path, shape, box, Overrides(n_threads=3)).n_threads_batch == 3
