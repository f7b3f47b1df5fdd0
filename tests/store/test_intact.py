"""A model is run only when its bytes are the promised ones."""

from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.heard import Heard
from fakes.hub import File
from fakes.hub.tiny import model_bytes

from mlm.paths import Home
from mlm.store.check import ensure_intact
from mlm.store.intake import register_in_place
from mlm.store.store import Store
from mlm.store.verify import CorruptModelError


def spoil(path: Path) -> None:
    blob = path.resolve()
    blob.chmod(0o644)
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)


@pytest.fixture
def installed(download, tiny: File) -> Path:
    (file,) = download()
    return file.path


def test_what_was_verified_and_not_touched_is_not_hashed_again(installed: Path, store: Store):
    (model,) = store.models()
    heard = Heard()
    ensure_intact(store, model, heard)
    assert heard.events == []


def test_a_file_that_rotted_is_never_run(installed: Path, store: Store):
    spoil(installed)
    (model,) = store.models()
    with pytest.raises(CorruptModelError) as caught:
        ensure_intact(store, model, Heard())
    assert str(model.sha256) in caught.value.message
    assert caught.value.remedy == f"mlm verify {model.ref} --repair"


def test_what_another_tool_brought_is_hashed_once(
    installed: Path, store: Store, home: Path, hub_cache: Path
):
    for receipt in (home / "receipts").iterdir():
        receipt.unlink()
    (home / "index.sqlite").unlink()
    with Store(Home(home), hub_cache) as fresh:
        (model,) = fresh.models()
        assert model.verified_at is None
        heard = Heard()
        ensure_intact(fresh, model, heard)
        assert {event.phase for event in heard.events} == {"checking"}
        (model,) = fresh.models()
        assert model.verified_at is not None


def test_an_import_that_was_changed_needs_to_be_imported_again(store: Store, tmp_path: Path):
    path = tmp_path / "own.gguf"
    path.write_bytes(gguf_files.llama().encode())
    (model,) = register_in_place(store, path, Heard())
    spoil(path)
    with pytest.raises(CorruptModelError) as caught:
        ensure_intact(store, model, Heard())
    assert f"mlm import {path}" in str(caught.value.remedy)


def test_a_local_file_that_nobody_imported_is_taken_as_it_is(store: Store, tmp_path: Path):
    path = tmp_path / "own.gguf"
    path.write_bytes(model_bytes(5000))
    heard = Heard()
    ensure_intact(store, store.find(str(path)), heard)
    assert heard.events == []
