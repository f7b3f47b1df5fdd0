"""Loading: layers, the parsed cache, and where the shipped files lie."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from fakes.catalog_file import SMALL, bend

from mlm.catalog.load import CatalogError, load_catalog, mentions_repo
from mlm.catalog.lookup import Catalog
from mlm.errors import NotFoundError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def user_dir(tmp_path: Path) -> Path:
    """The folder of the user's own catalog files."""
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """The folder of the parsed cache."""
    return tmp_path / "cache"


def write(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


def ids(catalog: Catalog) -> set[str]:
    return {entry.model_id for entry in catalog.entries}


def test_the_shipped_catalog_is_there_without_a_user_folder(tmp_path, cache_dir):
    assert "qwen3-8b" in ids(load_catalog(tmp_path / "nowhere", cache_dir))


def test_a_users_model_is_added_and_one_of_the_same_name_replaces(user_dir, cache_dir):
    write(user_dir / "house.yaml", SMALL)
    write(user_dir / "mine.yml", bend({("models", 0, "model_id"): "qwen3-8b"}))

    catalog = load_catalog(user_dir, cache_dir)

    assert "house-1b" in ids(catalog)
    assert catalog.find("qwen3-8b").name == "House-1B"
    assert [entry.model_id for entry in catalog.entries].count("qwen3-8b") == 1


def test_what_comes_from_the_cache_equals_what_comes_from_the_files(user_dir, cache_dir):
    write(user_dir / "house.yaml", SMALL)
    cold = load_catalog(user_dir, cache_dir)
    assert (cache_dir / "catalog.json").exists()
    assert load_catalog(user_dir, cache_dir) == cold


def test_the_cache_is_really_used(user_dir, cache_dir):
    load_catalog(user_dir, cache_dir)
    path = cache_dir / "catalog.json"
    cached = json.loads(path.read_text(encoding="utf-8"))
    cached["entries"] = cached["entries"][:1]
    path.write_text(json.dumps(cached), encoding="utf-8")
    assert len({entry.family for entry in load_catalog(user_dir, cache_dir).entries}) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes on disk")
def test_what_is_no_file_does_not_hold_anybody_up(user_dir, cache_dir):
    os.mkfifo(user_dir / "pipe.yaml")
    (user_dir / "folder.yaml").mkdir()
    assert load_catalog(user_dir, cache_dir).find("qwen3-8b")


def test_a_link_that_leads_nowhere_is_named(user_dir, cache_dir):
    (user_dir / "lost.yaml").symlink_to("/nowhere/at/all.yaml")
    with pytest.raises(NotFoundError, match=r"cannot read .*lost\.yaml"):
        load_catalog(user_dir, cache_dir)


def test_a_changed_a_new_and_a_removed_file_are_noticed(user_dir, cache_dir):
    write(user_dir / "house.yaml", SMALL)
    assert "house-1b" in ids(load_catalog(user_dir, cache_dir))

    write(user_dir / "house.yaml", bend({("models", 0, "model_id"): "house-2b"}))
    os.utime(user_dir / "house.yaml", ns=(1, 1))  # the same size, another time
    assert "house-2b" in ids(load_catalog(user_dir, cache_dir))

    other = bend({("models", 0, "model_id"): "barn", ("models", 0, "aliases"): []})
    write(user_dir / "barn.yaml", other)
    assert "barn" in ids(load_catalog(user_dir, cache_dir))

    (user_dir / "house.yaml").unlink()
    assert "house-2b" not in ids(load_catalog(user_dir, cache_dir))


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"key": 1, "layers": []}', "\x00"])
def test_a_broken_cache_is_ignored_and_replaced(user_dir, cache_dir, content):
    cache_dir.mkdir()
    (cache_dir / "catalog.json").write_text(content)
    assert "qwen3-8b" in ids(load_catalog(user_dir, cache_dir))
    assert json.loads((cache_dir / "catalog.json").read_text())["key"]


def test_a_cache_of_the_right_key_and_the_wrong_content_is_ignored(user_dir, cache_dir):
    load_catalog(user_dir, cache_dir)
    path = cache_dir / "catalog.json"
    cached = json.loads(path.read_text(encoding="utf-8"))
    for layers in ([], [[{}], []], [[{"models": [{}]}], []], "x", [[3], []]):
        path.write_text(json.dumps({**cached, "layers": layers}), encoding="utf-8")
        assert "qwen3-8b" in ids(load_catalog(user_dir, cache_dir))


def test_a_cache_that_cannot_be_written_only_costs_time(user_dir, tmp_path):
    (tmp_path / "file").write_text("")
    assert "qwen3-8b" in ids(load_catalog(user_dir, tmp_path / "file" / "cache"))


def test_a_file_that_is_not_in_order_stops_everything_with_its_place(user_dir, cache_dir):
    write(user_dir / "house.yaml", bend({("models", 0, "params"): "many"}))
    with pytest.raises(CatalogError) as raised:
        load_catalog(user_dir, cache_dir)
    assert raised.value.message.startswith(f"{user_dir / 'house.yaml'}:")
    assert raised.value.remedy == f"mlm catalog validate {user_dir / 'house.yaml'}"


def test_two_files_of_one_layer_may_not_describe_the_same_model(user_dir, cache_dir):
    write(user_dir / "a.yaml", SMALL)
    write(user_dir / "b.yaml", SMALL)
    with pytest.raises(CatalogError, match="two catalog files describe house-1b"):
        load_catalog(user_dir, cache_dir)


def test_quants_come_smallest_first(user_dir, cache_dir):
    write(user_dir / "house.yaml", SMALL)
    quants = load_catalog(user_dir, cache_dir).find("house-1b").quants
    assert [quant.quant for quant in quants] == ["Q4_K_M", "Q8_0"]
    assert quants[0].source == "measured at home"


@pytest.mark.parametrize("layout", ["wheel", "checkout"])
def test_the_shipped_catalog_is_found_in_a_wheel_and_in_a_checkout(tmp_path, layout: str):
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = config["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    target = included["catalog"] if layout == "wheel" else "catalog"
    ignore = shutil.ignore_patterns("__pycache__", "*.gguf")
    shutil.copytree(ROOT / "mlm", tmp_path / "mlm", ignore=ignore)
    shutil.copytree(ROOT / "catalog", tmp_path / target)

    code = (
        "from pathlib import Path; from mlm.catalog.load import load_catalog;"
        "print(load_catalog(Path('own'), Path('cache')).find('qwen3-8b').name);"
        "import mlm; print(mlm.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    name, where = done.stdout.split()
    assert name == "Qwen3-8B"
    assert Path(where).is_relative_to(tmp_path)


def test_a_warm_load_needs_neither_yaml_nor_the_validator(user_dir, cache_dir):
    load_catalog(user_dir, cache_dir)
    code = (
        "import sys; from pathlib import Path; from mlm.catalog.load import load_catalog;"
        f"load_catalog(Path({str(user_dir)!r}), Path({str(cache_dir)!r}));"
        "print([m for m in ('yaml', 'mlm.strictyaml', 'mlm.catalog.validate', 'pickle')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_whether_a_repository_is_spoken_of_is_told_without_parsing(tmp_path: Path):
    catalog = load_catalog(tmp_path / "own", tmp_path / "cache")
    repos = {quant.repo_id for entry in catalog.entries for quant in entry.quants}
    assert [repo for repo in repos if not mentions_repo(tmp_path, repo)] == []
    assert not mentions_repo(tmp_path, "nobody/nothing-GGUF")
    (tmp_path / "mine.yaml").write_text('repo_id: "nobody/\\u006eothing-GGUF"')
    assert mentions_repo(tmp_path, "nobody/nothing-GGUF"), "rather too often than not"
