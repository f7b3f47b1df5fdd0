"""``mlm rm``."""

import os
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.announced import announce
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes
from fakes.killed import killed_at

from mlm.errors import ExitCode


@pytest.fixture
def installed(mlm, hub: FakeHub) -> Path:
    """The path of an installed model; a second one stands beside it."""
    hub.add(REPO, File(NAME, TINY), File("tiny.Q8_0.gguf", model_bytes(5000)))
    mlm("download", f"{REPO}:Q8_0")
    return Path(mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"][0]["path"])


def test_a_model_is_deleted_and_the_others_stay(mlm, installed: Path):
    blob = installed.resolve()
    done = mlm("rm", f"{REPO}:Q4_K_M", "--yes", "--json")
    assert done.exit_code == ExitCode.OK
    assert done.json["schema"] == "mlm.rm/1"
    assert done.json["freed_bytes"] == len(TINY)
    assert not blob.exists() and not installed.is_symlink()
    assert [model["quant"] for model in mlm("list", "--json").json["models"]] == ["Q8_0"]


def test_a_repository_means_all_its_models(mlm, installed: Path, hub_cache: Path):
    assert mlm("rm", REPO, "--yes").exit_code == ExitCode.OK
    assert mlm("list", "--json").json["models"] == []
    assert not (hub_cache / "models--org--tiny-GGUF").exists()


def test_without_a_terminal_it_wants_a_yes(mlm, installed: Path):
    refused = mlm("rm", f"{REPO}:Q4_K_M")
    assert refused.exit_code == ExitCode.USAGE
    assert "--yes" in refused.stderr
    assert installed.exists()


def test_an_imported_file_is_only_forgotten(mlm, tmp_path: Path):
    local = tmp_path / "mine.gguf"
    local.write_bytes(gguf_files.llama().encode())
    mlm("import", local)
    assert mlm("rm", local, "--yes", "--json").json["freed_bytes"] == 0
    assert local.exists()
    assert mlm("list", "--json").json["models"] == []
    assert mlm("rm", local, "--yes").exit_code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("where", ["models", "resident"])
def test_what_a_server_is_using_is_refused(mlm, installed: Path, home: Path, where: str):
    name = f"{REPO}:Q4_K_M"
    announce(
        home,
        models={name: str(installed)} if where == "models" else {},
        resident=({"model": name},) if where == "resident" else (),
    )
    refused = mlm("rm", name, "--yes")
    assert refused.exit_code == ExitCode.CONFLICT
    assert "in use by the server at http://127.0.0.1:8000" in refused.stderr
    assert installed.exists()
    assert mlm("rm", f"{REPO}:Q8_0", "--yes").exit_code == ExitCode.OK


def test_a_server_that_has_died_keeps_nothing(mlm, installed: Path, home: Path):
    announce(home, models={f"{REPO}:Q4_K_M": str(installed)}, started_at=5.0)
    assert mlm("rm", f"{REPO}:Q4_K_M", "--yes").exit_code == ExitCode.OK


def test_an_unknown_model_deletes_nothing(mlm, installed: Path):
    failed = mlm("rm", f"{REPO}:Q8_0", "nosuch", "--yes")
    assert failed.exit_code == ExitCode.NOT_FOUND
    assert len(mlm("list", "--json").json["models"]) == 2


def test_a_dry_run_says_what_would_go_and_touches_nothing(mlm, installed: Path):
    done = mlm("rm", f"{REPO}:Q4_K_M", "--dry-run", "--json")
    assert (done.json["dry_run"], done.json["freed_bytes"]) == (True, len(TINY))
    assert installed.exists()
    assert "would become free" in mlm("rm", f"{REPO}:Q4_K_M", "--dry-run").stdout
    assert len(mlm("list", "--json").json["models"]) == 2


def test_bytes_that_another_name_uses_stay_and_it_is_said_whose_they_are(
    mlm, installed: Path, hub: FakeHub
):
    hub.repos[REPO].commit([File(NAME, TINY), File("twin.Q6_K.gguf", TINY)])
    mlm("download", f"{REPO}:Q6_K")
    (row,) = mlm("rm", f"{REPO}:Q6_K", "--yes", "--json").json["removed"]
    assert row["freed_bytes"] == 0
    assert any(f"{REPO}:Q4_K_M" in words for words in row["kept_by"])
    assert installed.read_bytes() == TINY
    assert mlm("rm", f"{REPO}:Q4_K_M", "--yes", "--json").json["freed_bytes"] == len(TINY)


def test_a_hard_link_elsewhere_keeps_the_bytes(mlm, installed: Path, tmp_path: Path):
    os.link(installed.resolve(), tmp_path / "kept.gguf")
    done = mlm("rm", f"{REPO}:Q4_K_M", "--yes")
    assert "1 hard link that mlm does not know" in " ".join(done.stdout.split())
    assert "0 B freed" in done.stdout
    assert (tmp_path / "kept.gguf").read_bytes() == TINY


def test_two_names_of_the_same_bytes_that_go_together_free_them_once(mlm, installed, hub):
    hub.repos[REPO].commit([File(NAME, TINY), File("twin.Q6_K.gguf", TINY)])
    mlm("download", f"{REPO}:Q6_K")
    names = (f"{REPO}:Q6_K", f"{REPO}:Q4_K_M")
    planned = mlm("rm", *names, "--dry-run", "--json").json
    done = mlm("rm", *names, "--yes", "--json").json
    assert planned["freed_bytes"] == done["freed_bytes"] == len(TINY)
    assert not installed.exists()


def test_another_name_of_what_a_server_has_open_is_refused_too(mlm, installed, home, hub):
    hub.repos[REPO].commit([File(NAME, TINY), File("twin.Q6_K.gguf", TINY)])
    mlm("download", f"{REPO}:Q6_K")
    announce(home, models={"it": str(installed)})
    assert mlm("rm", f"{REPO}:Q6_K", "--yes").exit_code == ExitCode.CONFLICT


@pytest.mark.slow
def test_killed_at_every_step_it_leaves_nothing_wrong_and_prune_finds_the_rest(
    mlm, installed: Path, hub_cache: Path
):
    for step in range(1, 40):
        mlm("download", f"{REPO}:Q4_K_M")
        if not killed_at(step, f"models--{REPO.replace('/', '--')}/", "rm", REPO, "--yes"):
            break
        for model in mlm("list", "--json").json["models"]:
            assert Path(model["path"]).is_file()
        assert mlm("verify").exit_code == ExitCode.OK
        assert mlm("prune", "--yes").exit_code == ExitCode.OK
        kept = {Path(m["path"]).resolve().name for m in mlm("list", "--json").json["models"]}
        blobs = hub_cache / f"models--{REPO.replace('/', '--')}" / "blobs"
        assert {path.name for path in blobs.iterdir()} == kept if blobs.exists() else not kept
        mlm("download", f"{REPO}:Q8_0")
    assert step > 4, "the steps were not seen"
