"""What is written is what is read, and nothing that is not in order is written."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.catalog_file import SMALL, bend
from hypothesis import given
from hypothesis import strategies as st

from mlm import strictyaml
from mlm.catalog.files import catalog_files, shipped_dir
from mlm.catalog.load import find_own, load_catalog
from mlm.catalog.parse import parse_family
from mlm.catalog.types import CatalogEntry
from mlm.catalog.write import entry_document, is_written_by_us, own_path, to_yaml, write_entry
from mlm.errors import UsageError


def small(**fields: object) -> CatalogEntry:
    [entry] = parse_family(SMALL)
    return replace(entry, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", catalog_files(shipped_dir()), ids=lambda path: path.stem)
def test_every_shipped_entry_comes_back_as_it_was(path: Path):
    document = strictyaml.read(path).value
    for entry in parse_family(document):
        text = to_yaml(entry_document(entry))
        assert parse_family(strictyaml.parse(text, source="x").value) == [entry]  # type: ignore[arg-type]
    assert strictyaml.parse(to_yaml(document), source="x").value == document


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=4, max_size=40)


@given(texts, texts)
def test_whatever_a_text_holds_it_is_read_as_it_was_written(name: str, source: str):
    document = bend({("models", 0, "name"): name, ("sources", "me"): source})
    assert strictyaml.parse(to_yaml(document), source="x").value == document


@pytest.mark.parametrize(
    "word", ["no", "null", "true", "12", "1e3", "0x1", "- a", "a: b", "a #b", "~"]
)
def test_words_that_mean_something_to_yaml_stay_words(word: str):
    assert strictyaml.parse(to_yaml({"family": word}), source="x").value == {"family": word}


def test_an_entry_is_written_into_the_users_layer(tmp_path: Path):
    path = write_entry(tmp_path / "own", small())
    assert path == own_path(tmp_path / "own", "house-1b")
    assert is_written_by_us(path)
    assert find_own(tmp_path / "own") == {"house-1b": path}
    assert load_catalog(tmp_path / "own", tmp_path / "cache").find("house-1b") == small()


@pytest.mark.parametrize(
    "fields", [{"license": "MIT or so"}, {"name": "a\u202eb"}, {"params": 3}, {"family": "../x"}]
)
def test_what_is_not_in_order_is_not_written(tmp_path: Path, fields: dict[str, object]):
    with pytest.raises(UsageError, match="cannot be an entry"):
        write_entry(tmp_path / "own", small(**fields))
    assert not (tmp_path / "own").exists()


def test_a_file_of_a_person_is_not_ours(tmp_path: Path):
    path = tmp_path / "x.yaml"
    assert not is_written_by_us(path)
    path.write_text("# mine\n", encoding="utf-8")
    assert not is_written_by_us(path)
