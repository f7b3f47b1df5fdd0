"""``mlm catalog update``: what the hub has now, shown before it is written."""

import hashlib
from pathlib import Path

import pytest
from fakes.hub import FakeHub

from mlm.catalog.files import shipped_dir
from mlm.catalog.load import load_catalog
from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

MODEL = "phi-2"


def sibling(name: str, size: int) -> dict[str, object]:
    """Return a file as a hub lists it."""
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return {"rfilename": name, "size": size, "lfs": {"sha256": sha256, "size": size}}


@pytest.fixture
def replaced(hub: FakeHub, tmp_path: Path) -> FakeHub:
    """A hub on which the files of the model have been replaced, and the smallest has gone."""
    catalog = load_catalog(tmp_path / "none", tmp_path / "cache")
    repos: dict[str, list[dict[str, object]]] = {}
    for quant in catalog.find(MODEL).quants[1:]:
        listed = sibling(quant.filename, quant.size_bytes + 32)
        repos.setdefault(quant.repo_id, []).append(listed)
    for repo_id, siblings in repos.items():
        hub.add(repo_id)
        hub.repos[repo_id].info = {"siblings": [*siblings, sibling("phi-2.IQ1_S.gguf", 10)]}
    return hub


def test_the_differences_are_shown_and_nothing_is_written_unasked(mlm, replaced, home: Path):
    result = mlm("catalog", "update", MODEL)
    assert result.exit_code == ExitCode.USAGE
    assert "Q4_K_M: REPLACED, and the old one had been verified" in result.stdout
    assert "Q2_K: gone" in result.stdout
    assert "not listed: IQ1_S" in result.stdout
    assert "hint: --yes" in result.stderr
    assert not (home / "catalog").exists()
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_a_dry_run_only_shows(mlm, replaced, home: Path):
    assert mlm("catalog", "update", MODEL, "--dry-run", "--yes").exit_code == ExitCode.OK
    assert not (home / "catalog").exists()


def test_yes_writes_the_users_layer_and_never_the_shipped_files(mlm, replaced, home: Path):
    before = {path: path.read_bytes() for path in shipped_dir().iterdir() if path.is_file()}

    result = mlm("catalog", "update", MODEL, "--yes", "--json")

    assert result.exit_code == ExitCode.OK
    assert result.json["written"] == [str(home / "catalog" / f"{MODEL}.yaml")]
    [row] = result.json["models"]
    assert {file["status"] for file in row["files"]} == {"replaced", "resized", "gone"}
    shown = mlm("catalog", "show", f"{MODEL}:Q4_K_M", "--json").json["model"]
    [quant] = shown["quants"]
    assert quant["sha256"] == hashlib.sha256(quant["filename"].encode()).hexdigest()
    assert quant["revision"] == replaced.repos[quant["repo_id"]].refs["main"]
    assert shown["quality"] and shown["scores"], "the rest is as it was"
    assert {path: path.read_bytes() for path in before} == before
    again = mlm("catalog", "update", MODEL, "--yes")
    assert again.stdout.strip() == "the catalog says what the hub has"


def test_rm_goes_back_to_the_shipped_model(mlm, replaced):
    shipped = mlm("catalog", "show", MODEL, "--json").json["model"]
    mlm("catalog", "update", MODEL, "--yes")
    assert mlm("catalog", "show", MODEL, "--json").json["model"] != shipped
    mlm("catalog", "rm", MODEL)
    assert mlm("catalog", "show", MODEL, "--json").json["model"] == shipped


def test_a_model_in_a_file_of_my_own_is_shown_but_left_alone(mlm, replaced, home: Path):
    mlm("catalog", "update", MODEL, "--yes")
    own = home / "catalog" / f"{MODEL}.yaml"
    by_hand = own.read_text(encoding="utf-8").partition("\n")[2]
    own.write_text(by_hand, encoding="utf-8")
    for repo in replaced.repos.values():
        repo.info = {"siblings": [sibling("phi-2.Q8_0.gguf", 3_000_000_000)]}

    result = mlm("catalog", "update", MODEL, "--yes")

    assert result.exit_code == ExitCode.OK
    assert "left alone, for it is in your own" in result.stdout
    assert own.read_text(encoding="utf-8") == by_hand


def test_what_cannot_be_asked_is_told_and_the_rest_is_written(mlm, replaced, home: Path):
    result = mlm("catalog", "update", MODEL, "smollm2-135m", "--yes")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "has no repository" in result.stdout
    assert (home / "catalog" / f"{MODEL}.yaml").exists()


def test_a_gated_repository_is_told_and_skipped(mlm, replaced, home: Path):
    replaced.breaks(where="api", status=403, headers={"X-Error-Code": "GatedRepo"})
    result = mlm("catalog", "update", MODEL, "--yes")
    assert result.exit_code == ExitCode.OK
    assert "is gated" in result.stdout
    assert not (home / "catalog").exists()


def test_without_a_network_there_is_nothing_to_say(mlm, replaced):
    assert mlm("--offline", "catalog", "update", MODEL).exit_code == ExitCode.NETWORK
    assert replaced.requests == []


def test_a_hub_that_is_not_there_is_a_matter_of_the_network(mlm):
    assert mlm("catalog", "update", MODEL, "--yes").exit_code == ExitCode.NETWORK


def test_a_home_that_cannot_be_written_is_said_to_be_one(mlm, replaced, home: Path):
    (home / "catalog").write_text("a file where the folder should be")
    result = mlm("catalog", "update", MODEL, "--yes")
    assert result.exit_code == ExitCode.USAGE
    assert "cannot write" in result.stderr


def test_sizes_that_cannot_be_are_not_written(mlm, replaced, home: Path):
    for repo in replaced.repos.values():
        repo.info = {"siblings": [sibling("phi-2.Q8_0.gguf", 3)]}
    result = mlm("catalog", "update", MODEL, "--yes")
    assert result.exit_code == ExitCode.USAGE
    assert "0.0 bits per weight cannot be" in result.stderr
    assert not (home / "catalog").exists()


def test_the_whole_catalog_is_asked_about_a_few_repositories_at_a_time(mlm, hub: FakeHub):
    mlm("catalog", "update", "--dry-run", "--json")
    paths = [request.path for request in hub.asked("api")]
    assert len(paths) == len(set(paths)) > 60, "each repository once"
    assert 1 < hub.most_busy["api"] <= 8


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"<html>", b"x" * 1000])
def test_garbage_writes_nothing(mlm, replaced, home: Path, body: bytes):
    replaced.breaks(where="api", body=body)
    assert mlm("catalog", "update", MODEL, "--yes").exit_code == ExitCode.NETWORK
    assert not (home / "catalog").exists()
