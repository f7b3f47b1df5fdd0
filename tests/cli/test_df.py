"""``mlm df``."""

import os
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY

from mlm.errors import ExitCode


@pytest.fixture
def installed(mlm, hub: FakeHub) -> Path:
    hub.add(REPO, File(NAME, TINY))
    return Path(mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"][0]["path"])


def test_an_empty_home_takes_nothing_and_still_names_its_disk(mlm, home: Path):
    done = mlm("df", "--json")
    assert done.exit_code == ExitCode.OK
    assert done.json["schema"] == "mlm.df/1"
    assert done.json["models"] == []
    (disk,) = done.json["disks"]
    assert str(home) in disk["folders"]
    assert 0 < disk["free"] <= disk["total"]
    assert mlm("df").exit_code == ExitCode.OK


def test_a_model_of_its_own_is_exclusive(mlm, installed: Path):
    document = mlm("df", "--json").json
    (model,) = document["models"]
    assert (model["exclusive_bytes"], model["shared_bytes"]) == (len(TINY), 0)
    assert (model["shared_with"], model["in_place"]) == ([], False)
    assert document["categories"]["models"] == len(TINY)
    assert document["categories"]["index"] > 0


def test_bytes_with_two_names_are_counted_once_and_both_names_are_told(mlm, installed, hub):
    hub.repos[REPO].commit([File(NAME, TINY), File("other.Q8_0.gguf", TINY)])
    mlm("download", f"{REPO}:Q8_0")
    document = mlm("df", "--json").json
    assert document["categories"]["models"] == len(TINY)
    assert [model["shared_bytes"] for model in document["models"]] == [len(TINY)] * 2
    by_ref = {model["ref"]: model["shared_with"] for model in document["models"]}
    assert any(f"{REPO}:Q8_0" in words for words in by_ref[f"{REPO}:Q4_K_M"])
    assert f"{REPO}:Q8_0" in mlm("df").stdout


def test_a_hard_link_that_nobody_registered_is_seen_too(mlm, installed: Path, tmp_path: Path):
    os.link(installed.resolve(), tmp_path / "elsewhere.gguf")
    (model,) = mlm("df", "--json").json["models"]
    assert (model["exclusive_bytes"], model["shared_bytes"]) == (0, len(TINY))
    assert model["shared_with"] == ["1 hard link that mlm does not know"]


def test_an_import_in_place_is_not_counted_as_ours(mlm, tmp_path: Path):
    local = gguf_files.llama().write(tmp_path / "mine.gguf")
    mlm("import", local)
    document = mlm("df", "--json").json
    assert document["models"][0]["in_place"] is True
    assert document["categories"]["in_place"] == local.stat().st_size
    assert document["total_bytes"] < local.stat().st_size


def test_every_kind_of_rest_has_its_heading(mlm, installed: Path, home: Path, hub_cache: Path):
    blobs = installed.resolve().parent
    (blobs / f"{'a' * 64}.mlm-partial").write_bytes(b"p" * 1000)
    (blobs / f"{'b' * 64}.1234.incomplete").write_bytes(b"p" * 500)
    (blobs / ("c" * 64)).write_bytes(b"o" * 2000)
    (hub_cache / "datasets--org--data").mkdir()
    (hub_cache / "datasets--org--data" / "table").write_bytes(b"d" * 3000)
    for place, size in (("logs/x.log", 7), ("stats.sqlite-wal", 8), ("responses.sqlite", 9)):
        (home / place).parent.mkdir(exist_ok=True)
        (home / place).write_bytes(b"x" * size)
    done = mlm("df", "--json")
    kinds = done.json["categories"]
    assert (kinds["partial"], kinds["orphan"]) == (1500, 2000)
    assert (kinds["logs"], kinds["stats"], kinds["response_cache"]) == (7, 8, 9)
    assert kinds["other_cache"] >= 3000
    assert "mlm prune" in mlm("df").stderr


def test_the_hole_in_an_unfinished_download_takes_nothing(mlm, installed: Path):
    with (installed.resolve().parent / f"{'a' * 64}.mlm-partial").open("wb") as partial:
        partial.truncate(10**9)
    assert mlm("df", "--json").json["categories"]["partial"] < 10**6


def test_links_in_circles_and_names_from_hell_are_survived(mlm, installed: Path, hub_cache: Path):
    (hub_cache / "loop").symlink_to(hub_cache)
    (hub_cache / "models--org--tiny-GGUF" / "snapshots" / "self").symlink_to(".")
    os.mkfifo(hub_cache / "models--org--tiny-GGUF" / "blobs" / ("d" * 64))
    evil = installed.parent / os.fsdecode(b"\x1b[31m\xff\n.gguf")
    evil.symlink_to(f"../../blobs/{installed.resolve().name}")
    (hub_cache / os.fsdecode(b"models--\xff--\n")).mkdir()
    done = mlm("df", "--json")
    assert done.exit_code == ExitCode.OK
    assert done.json["categories"]["models"] == len(TINY)
    assert "\x1b" not in mlm("df").stdout


@pytest.mark.parametrize("columns", ["40", "80"])
def test_the_tables_fit_the_screen(mlm, installed: Path, monkeypatch, columns: str):
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, mlm("df").stdout.splitlines())) <= int(columns)
