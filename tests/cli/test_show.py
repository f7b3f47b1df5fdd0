"""``mlm show``."""

import os
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import ExitCode


@pytest.fixture
def installed(mlm, hub: FakeHub) -> File:
    file = File(NAME, TINY)
    hub.add(REPO, file)
    mlm("download", f"{REPO}:Q4_K_M")
    return file


def test_everything_known_is_shown(mlm, installed: File):
    shown = mlm("show", f"{REPO}:Q4_K_M")
    assert shown.exit_code == ExitCode.OK
    for fact in (REPO, "Q4_K_M", installed.sha256[:40], "293 KiB", "last used"):
        assert fact in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_document_has_the_model_and_its_files(mlm, installed: File):
    document = mlm("show", REPO, "--json").json
    assert document["schema"] == "mlm.show/1"
    assert document["model"]["sha256"] == installed.sha256
    assert [file["filename"] for file in document["files"]] == [NAME]


def test_shards_are_all_there(mlm, hub: FakeHub):
    hub.add(REPO, *(File(f"m-Q8_0-0000{n}-of-00002.gguf", model_bytes(9000, n)) for n in (1, 2)))
    mlm("download", f"{REPO}:Q8_0")
    assert len(mlm("show", REPO, "--json").json["files"]) == 2


def test_what_is_not_here_is_said_with_the_way_to_get_it(mlm, installed: File):
    failed = mlm("show", "org/tiny-GGUG:Q4_K_M")
    assert failed.exit_code == ExitCode.NOT_FOUND
    assert f"near it: {REPO}:Q4_K_M" in failed.stderr
    assert "mlm download" in failed.stderr


def test_what_belongs_to_it_and_what_shares_its_bytes_is_shown(mlm, hub: FakeHub, home: Path):
    files = [File(NAME, TINY), File("mmproj-F16.gguf", model_bytes(700)), File("t.Q6_K.gguf", TINY)]
    hub.add(REPO, *files)
    mlm("download", f"{REPO}:Q4_K_M")
    mlm("download", f"{REPO}:Q6_K")
    document = mlm("show", f"{REPO}:Q4_K_M", "--json").json
    assert [file["filename"] for file in document["side_files"]] == ["mmproj-F16.gguf"]
    assert any(f"{REPO}:Q6_K" in words for words in document["shared_with"])
    shown = mlm("show", f"{REPO}:Q4_K_M").stdout
    for fact in ("mmproj-F16.gguf", f"{REPO}:Q6_K", "unchanged since", "planned when it runs"):
        assert fact in shown


def test_shards_are_listed_with_their_sums(mlm, hub: FakeHub):
    parts = [File(f"m-Q8_0-0000{n}-of-00002.gguf", model_bytes(9000, n)) for n in (1, 2)]
    hub.add(REPO, *parts)
    mlm("download", f"{REPO}:Q8_0")
    shown = "".join(mlm("show", REPO).stdout.split())
    for part in parts:
        assert part.name in shown and part.sha256 in shown


def test_a_file_that_was_touched_since_is_told(mlm, installed: File, hub_cache: Path):
    path = Path(mlm("show", REPO, "--json").json["model"]["path"])
    assert mlm("show", REPO, "--json").json["changed"] is False
    os.utime(path, (1, 1))
    shown = mlm("show", REPO)
    assert "changed since" in shown.stdout
    assert "mlm verify" in shown.stderr


def test_the_config_of_its_own_is_named(mlm, home: Path, tmp_path: Path):
    mlm("import", gguf_files.llama().write(tmp_path / "mine.gguf"))
    config = home / "config" / "mine.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("n_ctx: 512\n")
    document = mlm("show", "mine", "--json").json
    assert document["config"] == str(config)
    assert document["in_place"] is True
