"""Machines to pretend."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.errors import MlmError, NotFoundError, UsageError
from mlm.hardware.document import to_document
from mlm.hardware.preset import find_preset, preset_names
from mlm.units import GIB


@pytest.mark.parametrize("name", preset_names())
def test_every_known_machine_can_be_pretended(name: str):
    machine = find_preset(name)
    assert machine.memory.usable > 0
    assert machine.memory_bandwidth_bytes_per_s
    assert machine.cpu.usable_cores >= 1
    assert machine.fingerprint.startswith("preset:")


def test_a_card_sits_in_a_desktop_with_32_gib():
    machine = find_preset("RTX 4090")
    [card] = machine.accelerators
    assert (card.name, card.kind, card.compute_capability) == ("RTX 4090", "cuda", "8.9")
    assert card.memory_total == 24 * GIB
    assert card.memory_free == 24 * GIB - GIB // 2
    assert card.bandwidth_bytes_per_s == 1008 * 10**9
    assert machine.memory.total == 32 * GIB
    assert machine.memory.usable == 28 * GIB


def test_several_cards_and_more_memory_can_be_asked_for():
    machine = find_preset("2x RTX 3090, 128GB")
    assert [(card.index, card.name) for card in machine.accelerators] == [
        (0, "RTX 3090"),
        (1, "RTX 3090"),
    ]
    assert machine.memory.total == 128 * GIB


def test_an_apple_chip_shares_its_memory():
    machine = find_preset("m2 max 64gb")
    [chip] = machine.accelerators
    assert (chip.kind, chip.unified, chip.memory_total) == ("metal", True, 48 * GIB)
    assert chip.bandwidth_bytes_per_s == 400 * 10**9
    assert machine.memory.total == 64 * GIB


@pytest.mark.parametrize(
    ("name", "gib"), [("16GB laptop", 16), ("laptop 8 GB", 8), ("Raspberry Pi 4GB", 4)]
)
def test_a_machine_without_a_card_has_none(name: str, gib: int):
    machine = find_preset(name)
    assert machine.accelerators == ()
    assert machine.memory.total == gib * GIB


def test_the_smallest_memory_is_assumed_when_a_card_was_sold_with_several():
    assert find_preset("RTX 4060 Ti").accelerators[0].memory_total == 8 * GIB
    assert find_preset("RTX 4060 Ti 16GB").accelerators[0].memory_total == 16 * GIB


def test_a_size_that_was_never_sold_is_refused():
    with pytest.raises(UsageError, match="the RTX 4090 has 24GB"):
        find_preset("RTX 4090 48GB")


@pytest.mark.parametrize(
    ("name", "near"), [("RTX 4099", "RTX 4090"), ("M9 Max", "M5 Max"), ("RX 7900 XTY", "XT")]
)
def test_an_unknown_machine_is_not_found_and_the_nearest_are_offered(name: str, near: str):
    with pytest.raises(NotFoundError) as raised:
        find_preset(name)
    assert near in raised.value.message
    assert raised.value.remedy is not None


@pytest.mark.parametrize("name", ["", " ", ",", "64GB", "0x RTX 4090", "99x RTX 4090", "RTX 4090,"])
def test_half_a_description_is_an_error_or_a_machine_never_a_crash(name: str):
    try:
        find_preset(name)
    except MlmError as error:
        assert error.message


def test_the_file_of_another_machine_can_be_pretended(tmp_path):
    path = tmp_path / "box.json"
    path.write_text(json.dumps(to_document(find_preset("RTX 4090"))), encoding="utf-8")
    assert find_preset(str(path)).accelerators == find_preset("RTX 4090").accelerators


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"3"])
def test_a_file_that_is_no_hardware_document_is_refused(tmp_path, content: bytes):
    path = tmp_path / "box.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"box\.json"):
        find_preset(str(path))


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="cannot read"):
        find_preset(str(tmp_path / "nowhere.json"))


@pytest.mark.parametrize("content", [None, b"not JSON"])
def test_the_hint_for_a_file_never_overwrites_it(tmp_path, content: bytes | None):
    path = tmp_path / "model.gguf"
    if content:
        path.write_bytes(content)
    with pytest.raises(MlmError) as caught:
        find_preset(str(path))
    assert caught.value.remedy == "mlm hardware --json > machine.json"


@pytest.mark.parametrize("name", ["laptop", "Raspberry Pi 4", "SERVER"])
def test_a_kind_of_machine_needs_to_say_how_much_memory_it_has(name: str):
    with pytest.raises(UsageError, match="how much memory") as caught:
        find_preset(name)
    assert caught.value.remedy == f'write "{name} 16GB"'
    assert find_preset(f"{name} 16GB").memory.total == 16 * GIB


@given(st.text(alphabet=st.sampled_from("RTXM4090 2x,GBi laptop3"), max_size=25))
def test_no_words_make_it_crash(name: str):
    try:
        find_preset(name)
    except MlmError as error:
        assert error.message
