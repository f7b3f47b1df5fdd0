"""What is said of a name that no model in the store has."""

from pathlib import Path

import pytest
from fakes.heard import Heard

from mlm.errors import NotFoundError
from mlm.store.check import verify
from mlm.store.store import Store


def refusal(store: Store, text: str) -> NotFoundError:
    with pytest.raises(NotFoundError) as caught:
        store.find(text)
    return caught.value


def test_a_slip_of_the_finger_is_answered_with_names_from_the_catalog(store: Store):
    error = refusal(store, "qwen38b")
    assert "near it: qwen3-8b" in error.message
    assert error.remedy == "mlm catalog show qwen3-8b"


def test_a_model_of_the_catalog_only_has_to_be_downloaded(store: Store):
    assert refusal(store, "qwen3-8b").remedy == "mlm download qwen3-8b"
    assert refusal(store, "org/other-GGUF:Q4_K_M").remedy == "mlm download org/other-GGUF:Q4_K_M"


def test_a_name_like_no_other_leads_to_the_lists(store: Store):
    assert "mlm list" in str(refusal(store, "zzzzzzzzzzzz").remedy)


def test_a_missing_file_is_not_something_to_download(store: Store, tmp_path: Path):
    error = refusal(store, str(tmp_path / "none.gguf"))
    assert error.message == f"{tmp_path / 'none.gguf'} is not there"
    assert "download" not in str(error.remedy)


def test_a_folder_is_called_a_folder(store: Store, tmp_path: Path):
    assert "is a folder" in refusal(store, str(tmp_path)).message


def test_a_loop_of_links_is_a_file_that_is_not_there(store: Store, tmp_path: Path):
    loop = tmp_path / "loop.gguf"
    loop.symlink_to(loop)
    assert "is not there" in refusal(store, str(loop)).message


def test_a_file_that_was_never_imported_cannot_be_verified(store: Store, tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("not a model")
    with pytest.raises(NotFoundError, match="never imported"):
        verify(store, [store.find(str(path))], Heard())
    assert store.models() == []
