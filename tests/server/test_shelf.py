"""Which models a client can ask for."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_gateway import fake_model

from mlm.errors import NotFoundError, UsageError
from mlm.server.errors import ApiError
from mlm.server.model import Installed, ServedModel
from mlm.server.shelf import Shelf


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    path = tmp_path / "alpha.fake"
    path.write_text("{}")
    return fake_model(path)


def find(shelf: Shelf, *names: str) -> list[Any]:
    async def run() -> list[Any]:
        return list(await asyncio.gather(*(shelf.find(name) for name in names)))

    return asyncio.run(run())


def test_another_name_for_a_served_file_is_the_served_model(model: ServedModel):
    alias = replace(model, model_id="alpha:Q8_0")
    shelf = Shelf([model], lambda _: alias, dict)
    assert find(shelf, "alpha", "alpha:Q8_0") == [model, model]


def test_a_crowd_that_asks_for_a_new_model_looks_once(model: ServedModel):
    looked = []

    def look(model_id: str) -> ServedModel:
        looked.append(model_id)
        return model

    assert find(Shelf([], look, dict), *["alpha"] * 9) == [model] * 9
    assert looked == ["alpha"]


@pytest.mark.parametrize("error", [NotFoundError("no"), UsageError("not a name")])
def test_a_name_that_means_nothing_is_404_and_offers_what_there_is(
    model: ServedModel, error: Exception
):
    def look(model_id: str) -> ServedModel:
        raise error

    shelf = Shelf([model], look, lambda: {"beta": Installed(Path("beta"))})
    for name, near in (("alfa", "alpha"), ("bet", "beta"), ("zzz", "alpha, beta")):
        with pytest.raises(ApiError) as caught:
            find(shelf, name)
        assert caught.value.status == 404
        assert caught.value.message.endswith(f"there is {near}")


def test_served_models_come_first_and_no_file_comes_twice(model: ServedModel):
    paths = {"aaa": Path("aaa"), "alpha:Q8_0": model.path, "alpha": model.path}
    installed = {model_id: Installed(path) for model_id, path in paths.items()}
    shelf = Shelf([model], lambda _: model, lambda: installed)
    assert [*asyncio.run(shelf.ids())] == ["alpha", "aaa"]


def test_what_takes_pictures_is_told_by_what_is_loaded_before_what_lies_there(model: ServedModel):
    seer = replace(model, model_id="seer", path=Path("seer"), mmproj=Path("mmproj"))
    unsuited = replace(model, model_id="unsuited", path=Path("unsuited"))
    installed = {name: Installed(Path(name), sees=True) for name in ("unasked", "unsuited")}
    shelf = Shelf([model, seer], lambda _: unsuited, lambda: installed)
    ids = {"alpha": False, "seer": True, "unasked": True, "unsuited": True}
    assert asyncio.run(shelf.ids()) == ids
    find(shelf, "unsuited")
    assert asyncio.run(shelf.ids()) == ids | {"unsuited": False}


def test_another_projector_is_another_way_to_run_a_model(model: ServedModel):
    seer = replace(model, mmproj=Path("mmproj"), mmproj_sha256="a")
    again = [seer, replace(seer, mmproj_sha256="b"), replace(seer, mmproj=None), seer]
    shelf = Shelf([seer], again.pop, dict, lambda _: again.pop())
    told = [asyncio.run(shelf.renew()) for _ in range(4)]
    assert [len(changed) for changed in told] == [0, 1, 1, 1]
    assert len({each.identity for each in (model, seer, replace(seer, mmproj_sha256="b"))}) == 3
