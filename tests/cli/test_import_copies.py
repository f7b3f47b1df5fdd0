"""``mlm import --copy`` and ``--hardlink``: the file comes into mlm's folder, or nothing does."""

import errno
import hashlib
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.hub import FakeHub, File
from fakes.hub.tiny import REPO
from fakes.killed import killed_at

from mlm.errors import ExitCode

MODEL = gguf_files.llama().encode()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "mine.Q8_0.gguf"
    path.write_bytes(MODEL)
    return path


def split(folder: Path) -> list[Path]:
    """Write a model of two shards and return their paths."""
    paths = [folder / f"two-0000{n}-of-00002.gguf" for n in (1, 2)]
    for n, path in enumerate(paths):
        part = gguf_files.llama() if n == 0 else gguf_files.GGUFFile()
        part.set("split.count", gguf_files.U16, 2).set("split.no", gguf_files.U16, n)
        part.write(path)
    return paths


def left_overs(home: Path) -> list[Path]:
    return list((home / "models").glob(".unfinished*"))


def test_a_copy_stands_on_its_own(mlm, local: Path, home: Path):
    done = mlm("import", local, "--copy", "--json")
    assert done.exit_code == ExitCode.OK
    (file,) = done.json["files"]
    copy = Path(file["path"])
    assert copy == home / "models" / hashlib.sha256(MODEL).hexdigest() / local.name
    assert (file["model_id"], file["how"], file["quant"]) == ("mine.Q8_0", "copy", "Q8_0")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o444
    local.write_bytes(b"changed")
    assert copy.read_bytes() == MODEL
    assert mlm("verify", "mine.Q8_0").exit_code == ExitCode.OK
    assert left_overs(home) == []


def test_a_copy_is_mlms_own_and_rm_deletes_it(mlm, local: Path, home: Path):
    mlm("import", local, "--copy")
    assert mlm("rm", "mine.Q8_0", "--yes", "--json").json["freed_bytes"] == len(MODEL)
    assert [path.name for path in (home / "models").iterdir()] == [".lock"]
    assert local.exists()


def test_copying_twice_is_copying_once(mlm, local: Path, home: Path):
    mlm("import", local, "--copy")
    again = mlm("import", local, "--copy")
    assert again.exit_code == ExitCode.OK
    assert "nothing had to be copied" in again.stderr
    assert len(mlm("list", "--json").json["models"]) == 1
    assert mlm("df", "--json").json["categories"]["models"] == len(MODEL)


def test_the_copy_takes_the_place_of_the_file_in_place(mlm, local: Path, home: Path):
    mlm("import", local)
    mlm("import", local, "--copy")
    (model,) = mlm("list", "--json").json["models"]
    assert Path(model["path"]).is_relative_to(home)


def test_what_the_hub_has_brought_already_is_linked_not_copied(mlm, local, hub: FakeHub, home):
    hub.add(REPO, File("tiny.Q8_0.gguf", MODEL))
    mlm("download", REPO)
    done = mlm("import", local, "--copy", "--json")
    assert f"is here as {REPO}:Q8_0" in done.stderr
    (file,) = done.json["files"]
    assert file["same_as"] == [f"{REPO}:Q8_0"]
    assert mlm("df", "--json").json["categories"]["models"] == len(MODEL)
    assert mlm("rm", REPO, "--yes", "--json").json["freed_bytes"] == 0
    assert Path(file["path"]).read_bytes() == MODEL


def test_a_hard_link_is_a_second_name_and_says_so(mlm, local: Path, home: Path):
    local.chmod(0o640)
    done = mlm("import", local, "--hardlink", "--json")
    assert "share their bytes" in done.stderr
    (file,) = done.json["files"]
    assert Path(file["path"]).samefile(local)
    assert stat.S_IMODE(local.stat().st_mode) == 0o640, "the mode is the owner's business"
    assert "1 hard link" in mlm("rm", "mine.Q8_0", "--dry-run").stdout
    mlm("rm", "mine.Q8_0", "--yes")
    assert local.read_bytes() == MODEL


def test_where_no_link_can_be_had_the_copy_is_offered(mlm, local: Path, home: Path, monkeypatch):
    def refuse(*args: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    failed = mlm("import", local, "--hardlink")
    assert failed.exit_code == ExitCode.USAGE
    assert "another disk" in failed.stderr and "mlm import --copy" in failed.stderr
    assert left_overs(home) == []
    assert mlm("list", "--json").json["models"] == []


def test_both_at_once_cannot_be_meant(mlm, local: Path):
    assert mlm("import", local, "--copy", "--hardlink").exit_code == ExitCode.USAGE


def test_shards_and_the_projector_come_along(mlm, tmp_path: Path, home: Path):
    folder = tmp_path / "models"
    first, _ = split(folder)
    (folder / "mmproj-F16.gguf").write_bytes(b"projector")
    done = mlm("import", first, "--copy", "--json")
    assert [file["filename"] for file in done.json["files"]] == [p.name for p in split(folder)]
    place = Path(done.json["files"][0]["path"]).parent
    assert len(list(place.iterdir())) == 3
    assert (place / "mmproj-F16.gguf").read_bytes() == b"projector"
    assert [model["model_id"] for model in mlm("list", "--json").json["models"]] == ["two"]
    assert mlm("verify").exit_code == ExitCode.OK
    mlm("rm", "two", "--yes")
    assert mlm("df", "--json").json["models"] == []
    assert not place.exists()


@pytest.mark.parametrize(
    ("other", "is_ours"), [("eyes.Q8_0.gguf", True), ("tongue.Q4_K_M.gguf", False)]
)
def test_a_projector_is_of_all_quantizations_of_a_model_but_not_of_any_model(
    mlm, tmp_path: Path, other: str, is_ours: bool
):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("eyes.Q4_K_M.gguf", other):
        (folder / name).write_bytes(MODEL)
    (folder / "mmproj-F16.gguf").write_bytes(b"projector")
    done = mlm("import", folder / "eyes.Q4_K_M.gguf", "--copy", "--json")
    place = Path(done.json["files"][0]["path"]).parent
    assert (place / "mmproj-F16.gguf").exists() == is_ours


def test_a_folder_means_all_its_models_and_a_bad_one_keeps_none_out(mlm, tmp_path: Path):
    folder = tmp_path / "models"
    split(folder)
    (folder / "deep").mkdir()
    (folder / "deep" / "one.gguf").write_bytes(MODEL)
    (folder / "bad.gguf").write_bytes(b"<html>")
    (folder / "mmproj.gguf").write_bytes(MODEL)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.gguf")
    done = mlm("import", folder, "--json")
    assert done.exit_code == ExitCode.INTEGRITY
    assert sorted({f["model_id"] for f in done.json["files"]}) == ["one", "two"]
    (failure,) = done.json["errors"]
    assert failure["path"].endswith("bad.gguf")


def test_names_that_are_no_utf8_or_command_terminals_are_taken(mlm, tmp_path: Path):
    evil = tmp_path / os.fsdecode(b"\x1b]0;owned\x07\xff\nname.gguf")
    evil.write_bytes(MODEL)
    for how in ([], ["--copy"], ["--hardlink"]):
        done = mlm("import", evil, *how)
        assert done.exit_code == ExitCode.OK, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert mlm("list").exit_code == ExitCode.OK
        (model,) = mlm("list", "--json").json["models"]
        assert Path(model["path"]).read_bytes() == MODEL
        assert mlm("verify").exit_code == ExitCode.OK


def test_a_file_of_the_store_is_not_registered_a_second_time(mlm, hub: FakeHub):
    hub.add(REPO, File("tiny.Q8_0.gguf", MODEL))
    path = mlm("download", REPO, "--json").json["files"][0]["path"]
    done = mlm("import", path, "--json")
    assert done.json["files"][0]["ref"] == f"{REPO}:Q8_0"
    assert "in the store already" in done.stderr
    assert mlm("list", "--json").json["models"][0]["origin"] == "hub"


def test_a_full_disk_is_named_and_leaves_nothing(local: Path, home: Path):
    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    command = [sys.executable, "-m", "mlm", "import", str(local), "--copy"]
    failed = subprocess.run(command, capture_output=True, text=True, preexec_fn=starve)
    assert failed.returncode == ExitCode.DISK_SPACE, failed.stderr
    assert str(home) in failed.stderr
    assert left_overs(home) == []
    assert [path.name for path in (home / "models").iterdir()] == [".lock"]


def test_a_disk_without_room_is_not_begun_with(mlm, local: Path, home: Path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 1000))
    monkeypatch.setattr("mlm.store.copying._clone", lambda source, target: False)
    failed = mlm("import", local, "--copy")
    assert failed.exit_code == ExitCode.DISK_SPACE
    assert "1000 bytes" in failed.stderr
    assert left_overs(home) == []


def test_a_file_that_changes_while_it_is_copied_is_refused(mlm, local: Path, home, monkeypatch):
    from mlm.store import copying

    def append(source: int, target: int, on_bytes: object) -> str:
        with local.open("ab") as file:
            file.write(b"more")
        return real(source, target, on_bytes)

    real = copying._copy_hashing
    monkeypatch.setattr(copying, "_copy_hashing", append)
    monkeypatch.setattr(copying, "_clone", lambda source, target: False)
    failed = mlm("import", local, "--copy")
    assert failed.exit_code == ExitCode.CONFLICT
    assert mlm("list", "--json").json["models"] == []


@pytest.mark.slow
def test_killed_at_every_step_it_leaves_a_whole_model_or_none(
    mlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second = split(tmp_path / "split")
    contents = {first.name: first.read_bytes(), second.name: second.read_bytes()}
    for step in range(1, 60):
        home = tmp_path / f"mlm-home{step}"
        monkeypatch.setenv("MLM_HOME", str(home))
        if not killed_at(step, f"{home.name}/models/", "import", first, "--copy"):
            break
        for path in (home / "models").glob("[0-9a-f]*/*"):
            assert path.read_bytes() == contents[path.name]
        assert mlm("import", first, "--copy").exit_code == ExitCode.OK
        assert left_overs(home) == []
        (model,) = mlm("list", "--json").json["models"]
        assert model["n_files"] == 2
        assert mlm("verify").exit_code == ExitCode.OK
    assert step > 8, "the steps were not seen"


def test_what_a_killed_import_left_is_pruned(mlm, local: Path, home: Path):
    mlm("import", local, "--copy")
    folder = home / "models" / ".unfinished-123"
    folder.mkdir()
    (folder / "half.gguf").write_bytes(b"h" * 700)
    assert mlm("df", "--json").json["categories"]["partial"] == 700
    (item,) = mlm("prune", "--yes", "--json").json["items"]
    assert (item["kind"], item["freed_bytes"], item["pruned"]) == ("partial", 700, True)
    assert left_overs(home) == []
