"""``mlm import``."""

import hashlib
import os
from pathlib import Path

import pytest
from fakes import gguf_files

from mlm.errors import ExitCode


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "my models" / "mine.Q8_0.gguf"
    path.parent.mkdir()
    path.write_bytes(gguf_files.llama().encode())
    return path


def test_a_file_is_registered_in_place(mlm, local: Path, hub_cache: Path):
    done = mlm("import", local, "--json")
    assert done.exit_code == ExitCode.OK
    assert done.json["schema"] == "mlm.import/1"
    (file,) = done.json["files"]
    assert (file["path"], file["model_id"], file["origin"]) == (str(local), "mine.Q8_0", "import")
    assert file["sha256"] == hashlib.sha256(local.read_bytes()).hexdigest()
    assert mlm("list", "--json").json["models"][0]["path"] == str(local)
    assert mlm("verify", local).exit_code == ExitCode.OK
    assert mlm("show", "mine.Q8_0").exit_code == ExitCode.OK
    assert not hub_cache.exists()


def test_importing_twice_is_importing_once(mlm, local: Path):
    mlm("import", local)
    mlm("import", local)
    assert len(mlm("list", "--json").json["models"]) == 1


def test_a_link_is_followed(mlm, local: Path, tmp_path: Path):
    link = tmp_path / "link.gguf"
    link.symlink_to(local)
    (file,) = mlm("import", link, "--json").json["files"]
    assert file["path"] == str(local)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<!doctype html><p>no", "HTML"),
        (b"\x80\x04\x95pickle", "pickle"),
        (b"GGUF\x03\x00\x00\x00", "cut off"),
        (gguf_files.llama().encode()[:-100], ""),
    ],
    ids=["empty", "page", "pickle", "header cut", "data cut"],
)
def test_what_is_no_model_is_refused(mlm, tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    failed = mlm("import", path)
    assert failed.exit_code == ExitCode.INTEGRITY
    assert said in failed.stderr and "Traceback" not in failed.stderr
    assert mlm("list", "--json").json["models"] == []


def test_a_missing_file_an_empty_folder_and_a_pipe_are_refused(mlm, tmp_path: Path):
    assert mlm("import", tmp_path / "none.gguf").exit_code == ExitCode.NOT_FOUND
    (tmp_path / "empty").mkdir()
    assert mlm("import", tmp_path / "empty").exit_code == ExitCode.NOT_FOUND
    os.mkfifo(tmp_path / "pipe.gguf")
    assert mlm("import", tmp_path / "pipe.gguf").exit_code == ExitCode.INTEGRITY


def test_a_home_that_cannot_be_written_is_named(mlm, local: Path, home: Path):
    home.write_text("a file where the home should be")
    failed = mlm("import", local)
    assert failed.exit_code == ExitCode.USAGE
    assert "cannot be written" in failed.stderr
