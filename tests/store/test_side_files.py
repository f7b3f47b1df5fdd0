"""Projectors and importance matrices come and go with their model."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.store.side_files import choose_side_files, side_role
from mlm.store.store import Store
from mlm.store.types import Downloaded, RemoteFile

Download = Callable[..., list[Downloaded]]
MMPROJ = File("mmproj-F16.gguf", model_bytes(3000, seed=5))
IMATRIX = File("tiny.imatrix.gguf", model_bytes(2000, seed=6))
OTHER = File("tiny.Q8_0.gguf", model_bytes(4000, seed=7))


@pytest.mark.parametrize(
    ("filename", "role"),
    [
        ("mmproj-F16.gguf", "mmproj"),
        ("sub/mmproj-model-f16.gguf", "mmproj"),
        ("Qwen2.5-VL-7B-Instruct-mmproj-f16.gguf", "mmproj"),
        ("imatrix.gguf", "imatrix"),
        ("Model.imatrix.gguf", "imatrix"),
        ("mtp-Q8_0.gguf", "mtp"),
        ("model-Q4_K_M.gguf", None),
        ("MiMo-7B-MTP-Q4_K_M.gguf", None),
        ("mmprojector-7b.gguf", None),
    ],
)
def test_what_a_file_is_for_is_in_its_name(filename: str, role: str | None):
    assert side_role(filename) == role


def chosen(model: str, *names: str) -> list[str]:
    files = [RemoteFile(name, 1000 + number, "0" * 64) for number, name in enumerate(names)]
    return [file.filename for file in choose_side_files(model, files)]


def test_one_of_each_role_comes_along_in_the_most_useful_type():
    names = ("mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "imatrix.gguf", "mtp-x.gguf")
    assert chosen("m-Q4_K_M.gguf", *names) == ["mmproj-F16.gguf", "imatrix.gguf"]


def test_what_lies_beside_the_model_is_nearer_than_what_lies_above_it():
    assert chosen("a/m.gguf", "mmproj-F16.gguf", "a/mmproj-F32.gguf") == ["a/mmproj-F32.gguf"]
    assert chosen("a/m.gguf", "b/mmproj-F16.gguf") == []


def test_a_local_model_sees_with_what_lies_in_its_folder(tmp_path: Path, store: Store):
    for name in ("m.gguf", "mmproj-F32.gguf", "m-mmproj-f16.gguf", "other.gguf"):
        (tmp_path / name).write_bytes(b"x")
    (model,) = store.find_all(str(tmp_path / "m.gguf"))
    found = [file.filename for file in store.projectors(model)]
    assert found == ["m-mmproj-f16.gguf", "mmproj-F32.gguf"]


@pytest.fixture
def repo(hub: FakeHub) -> FakeHub:
    hub.add(REPO, File(NAME, TINY), OTHER, MMPROJ, IMATRIX)
    return hub


def test_they_come_along(repo: FakeHub, download: Download, store: Store):
    assert [file.filename for file in download()] == [NAME, MMPROJ.name, IMATRIX.name]
    (model,) = store.models()
    assert [file.filename for file in store.projectors(model)] == [MMPROJ.name]
    assert model.filename == NAME
    assert sorted(f.filename for f in store.side_files(model)) == [MMPROJ.name, IMATRIX.name]
    assert store.find(f"{REPO}/{MMPROJ.name}").filename == MMPROJ.name


def test_one_that_was_fetched_alone_is_listed_until_its_model_comes(
    repo: FakeHub, download: Download, store: Store
):
    download(f"{REPO}/{MMPROJ.name}")
    assert [model.filename for model in store.models()] == [MMPROJ.name]
    assert store.models()[0].quant is None, "F16 is no quantization of the model"
    download()
    assert [model.filename for model in store.models()] == [NAME]


def test_they_stay_as_long_as_a_model_needs_them(repo: FakeHub, download: Download, store: Store):
    download()
    download(f"{REPO}:Q8_0")
    first, second = store.models()
    store.remove(first)
    assert len(store.side_files(second)) == 2
    store.remove(second)
    assert store.receipts() == []


def test_they_can_be_left_out(repo: FakeHub, mlm):
    done = mlm("download", f"{REPO}:Q4_K_M", "--no-side-files", "--json")
    assert [file["filename"] for file in done.json["files"]] == [NAME]


def test_one_that_nobody_vouches_for_is_left_out_and_said_so(
    hub: FakeHub, download: Download, heard
):
    hub.add(REPO, File(NAME, TINY), File("imatrix.gguf", b"GGUF", lfs=False))
    assert [file.filename for file in download()] == [NAME]
    assert "imatrix.gguf is left out" in heard.notes[0]
