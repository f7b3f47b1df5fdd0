"""``mlm list``."""

import subprocess
import sys
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import ExitCode
from mlm.paths import Home
from mlm.store.store import Store


@pytest.fixture
def tiny(hub: FakeHub) -> File:
    file = File(NAME, TINY)
    hub.add(REPO, file)
    return file


def test_nothing_is_listed_with_a_hint(mlm):
    done = mlm("list")
    assert (done.exit_code, done.stdout) == (ExitCode.OK, "no models yet\n")
    assert "mlm download" in done.stderr


def test_the_document_has_every_field(mlm, tiny: File, hub: FakeHub):
    mlm("download", f"{REPO}:Q4_K_M")
    document = mlm("list", "--json").json
    assert document["schema"] == "mlm.list/1"
    (model,) = document["models"]
    assert model["ref"] == f"{REPO}:Q4_K_M"
    assert (model["model"], model["quant"]) == (None, "Q4_K_M")
    assert (model["repo_id"], model["commit"]) == (REPO, hub.repos[REPO].refs["main"])
    assert (model["filename"], model["size_bytes"]) == (NAME, len(TINY))
    assert Path(model["path"]).read_bytes() == TINY
    assert model["sha256"] == tiny.sha256
    assert model["verified_at"] > 0
    assert (model["origin"], model["last_used_at"]) == ("hub", None)


def test_a_model_of_the_catalog_goes_by_its_name(mlm):
    mlm("download", "mlm-demo")
    (model,) = mlm("list", "--json").json["models"]
    assert (model["model"], model["ref"]) == ("mlm-demo", "mlm/mlm-demo-GGUF:Q8_0")
    assert "mlm-demo:Q8_0" in mlm("list").stdout


def test_shards_are_one_model(mlm, hub: FakeHub):
    parts = [File(f"m-Q8_0-0000{n}-of-00002.gguf", model_bytes(9000, n)) for n in (1, 2)]
    hub.add(REPO, *parts)
    mlm("download", f"{REPO}:Q8_0")
    (model,) = mlm("list", "--json").json["models"]
    assert (model["n_files"], model["size_bytes"]) == (2, 18_000)


def test_the_table_fits_the_screen(mlm, hub: FakeHub):
    name = "a-model-with-a-rather-long-name-as-they-often-have-it-Instruct-v0.3.Q4_K_M.gguf"
    hub.add("an-organisation/a-repository-with-a-long-name-GGUF", File(name, TINY))
    mlm("download", f"an-organisation/a-repository-with-a-long-name-GGUF/{name}")
    assert max(map(len, mlm("list").stdout.splitlines())) <= 80


def test_a_model_that_another_tool_deleted_is_gone(mlm, tiny: File):
    (file,) = mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"]
    Path(file["path"]).resolve().unlink()
    assert mlm("list", "--json").json["models"] == []


def test_listing_and_showing_do_without_the_hub_library(mlm, tiny: File):
    mlm("download", f"{REPO}:Q4_K_M")
    code = (
        "import sys; from mlm.cli.app import run;"
        f"run(['list']); run(['show', '{REPO}']);"
        "heavy = ('huggingface_hub', 'httpx2', 'numpy', 'urllib.request');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("columns", ["40", "60", "80"])
def test_a_narrow_terminal_still_shows_the_names(mlm, tiny: File, monkeypatch, columns: str):
    mlm("download", f"{REPO}:Q4_K_M")
    monkeypatch.setenv("COLUMNS", columns)
    lines = mlm("list").stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("MODEL"))
    first_column = (line.split("  ")[0].strip() for line in lines[head + 1 :])
    assert "".join(first_column) == f"{REPO}:Q4_K_M"
    assert max(map(len, lines)) <= int(columns)


def refs(mlm, *words: str) -> list[str]:
    return [model["ref"] for model in mlm("list", *words, "--json").json["models"]]


@pytest.fixture
def three(mlm, hub: FakeHub, home: Path, hub_cache: Path) -> None:
    """Three models; the second one by name is the largest, the third was used last."""
    sizes = {"Q4_K_M": 1000, "Q6_K": 9000, "Q8_0": 5000}
    hub.add(REPO, *(File(f"m.{quant}.gguf", model_bytes(n, n)) for quant, n in sizes.items()))
    for quant in sizes:
        mlm("download", f"{REPO}:{quant}")
    with Store(Home(home), hub_cache) as store:
        store.note_use(store.find(f"{REPO}:Q8_0"))


def test_the_order_can_be_chosen(mlm, three):
    assert refs(mlm) == [f"{REPO}:{quant}" for quant in ("Q4_K_M", "Q6_K", "Q8_0")]
    assert refs(mlm, "--sort", "size") == [f"{REPO}:{q}" for q in ("Q6_K", "Q8_0", "Q4_K_M")]
    assert refs(mlm, "--sort", "used")[0] == f"{REPO}:Q8_0"
    assert mlm("list", "--sort", "beauty").exit_code == ExitCode.USAGE


def test_a_text_narrows_the_list(mlm, three):
    assert refs(mlm, "q6") == [f"{REPO}:Q6_K"]
    none = mlm("list", "nothing")
    assert (none.exit_code, none.stdout) == (ExitCode.OK, "no models yet\n")
    assert "none of 3 models" in none.stderr


def test_last_use_and_origin_are_told(mlm, three, tmp_path: Path):
    local = gguf_files.llama().write(tmp_path / "mine.gguf")
    mlm("import", local)
    mlm("import", gguf_files.llama(n_vocab=8).write(tmp_path / "its.gguf"), "--copy")
    lines = {line.split()[0]: line for line in mlm("list").stdout.splitlines()}
    assert "0 s ago" in lines[f"{REPO}:Q8_0"] and "never" in lines[f"{REPO}:Q6_K"]
    assert lines["mine"].rstrip().endswith("in place")
    assert lines["its"].rstrip().endswith("copy")


def test_a_name_with_newlines_forges_no_line(mlm, tmp_path: Path):
    mlm("import", gguf_files.llama().write(tmp_path / "a\nforged  Q8_0  1 B\n.gguf"))
    assert not any(line.startswith("forged") for line in mlm("list").stdout.splitlines())
