"""Finding a model by what a person typed, and a file by what the hub calls it."""

import pytest
from fakes.catalog_file import SMALL, bend

from mlm.catalog.lookup import Catalog, UnknownModel, UnknownQuant
from mlm.catalog.parse import parse_family
from mlm.errors import ExitCode


@pytest.fixture
def catalog() -> Catalog:
    """Two models: house-1b (house) and barn-3b."""
    barn = bend({("models", 0, "model_id"): "barn-3b", ("models", 0, "aliases"): []})
    return Catalog((*parse_family(SMALL), *parse_family(barn)))


@pytest.mark.parametrize("typed", ["house-1b", "HOUSE-1B", "house", "House"])
def test_a_model_is_found_by_name_and_alias_in_any_case(catalog: Catalog, typed: str):
    assert catalog.find(typed).model_id == "house-1b"


@pytest.mark.parametrize(
    ("typed", "offered"), [("house-1", "house-1b"), ("barn", "barn-3b"), ("hosue", "house")]
)
def test_a_near_name_is_offered(catalog: Catalog, typed: str, offered: str):
    with pytest.raises(UnknownModel) as raised:
        catalog.find(typed)
    assert raised.value.exit_code == ExitCode.NOT_FOUND
    assert offered in raised.value.message
    assert raised.value.remedy == f"mlm catalog show {catalog.nearest(typed)[0]}"


@pytest.mark.parametrize("typed", ["", "zzzzzz", "../../etc/passwd", "a" * 10_000])
def test_a_name_like_no_other_leads_to_the_list(catalog: Catalog, typed: str):
    with pytest.raises(UnknownModel) as raised:
        catalog.find(typed)
    assert raised.value.remedy == "mlm catalog list"


def test_a_model_of_the_name_goes_before_an_alias():
    other = bend({("models", 0, "model_id"): "house", ("models", 0, "aliases"): []})
    catalog = Catalog((*parse_family(SMALL), *parse_family(other)))
    assert catalog.find("house").model_id == "house"


def test_a_quant_is_found_in_any_case(catalog: Catalog):
    quant = catalog.find_quant(catalog.find("house"), "q4_k_m")
    assert quant.filename == "house.Q4_K_M.gguf"


@pytest.mark.parametrize(("typed", "best"), [("Q4_K_L", "Q4_K_M"), ("Q8", "Q8_0"), ("?", "Q4_K_M")])
def test_an_unknown_quant_names_what_there_is(catalog: Catalog, typed: str, best: str):
    with pytest.raises(UnknownQuant) as raised:
        catalog.find_quant(catalog.find("house"), typed)
    assert "there is Q4_K_M, Q8_0" in raised.value.message
    assert raised.value.remedy == f"use house-1b:{best}"


def test_a_file_of_the_hub_is_pinned_and_another_is_not(catalog: Catalog):
    pin = catalog.pin("me/House-GGUF", "house.Q4_K_M.gguf")
    assert pin is not None and pin.sha256 == "ab" * 32
    assert catalog.pin("me/House-GGUF", "house.Q2_K.gguf") is None
    assert catalog.pin("you/House-GGUF", "house.Q4_K_M.gguf") is None


def test_a_shard_and_a_projector_are_pinned_too():
    model = ("models", 0)
    file = {"repo_id": "me/House-GGUF", "source": "me"}
    names = [f"a-0000{n}-of-00002.gguf" for n in (1, 2)]
    quant = {**file, "quant": "Q8_0", "filename": names[0], "size_bytes": 9 * 10**8, "n_files": 2}
    shards = [{"filename": name, "sha256": f"{n}a" * 32} for n, name in enumerate(names)]
    projector = {**file, "filename": "mmproj-F16.gguf", "size_bytes": 7, "sha256": "ef" * 32}
    made = bend({
        (*model, "quants"): [{**quant, "shards": shards}],
        (*model, "mmproj"): [projector],
    })  # fmt: skip
    catalog = Catalog(tuple(parse_family(made)))
    entry = catalog.find("house")

    pins = [catalog.pin("me/House-GGUF", name) for name in (*names, "mmproj-F16.gguf")]

    assert [pin.sha256 for pin in pins if pin] == ["0a" * 32, "1a" * 32, "ef" * 32]
    found = entry.projector(entry.quants[0])
    assert found is not None and found.filename == "mmproj-F16.gguf"
