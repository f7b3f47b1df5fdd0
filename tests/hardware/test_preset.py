"""Machines to pretend."""

import json
import os
import re
from pathlib import Path

import pytest
from fakes.facts import entry, quant
from hypothesis import given
from hypothesis import strategies as st

from mlm.errors import MlmError, NotFoundError, UsageError
from mlm.hardware.document import to_document
from mlm.hardware.gpu_table import GpuRow, load_table
from mlm.hardware.preset import complete_preset, find_preset, preset_names
from mlm.hardware.types import Hardware
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import fit_runtime
from mlm.planning.shape import shape_from_catalog
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
    written = re.fullmatch(r'write "(.+) (\d+)GB"', caught.value.remedy or "")
    assert written is not None and written[1] == name.lower()
    assert find_preset(f"{name} {written[2]}GB").memory.total == int(written[2]) * GIB
    assert find_preset(f"{name}, 8GB").memory.total == 8 * GIB


@given(st.text(alphabet=st.sampled_from("RTXM4090 2x,GBi laptop3"), max_size=25))
def test_no_words_make_it_crash(name: str):
    try:
        find_preset(name)
    except MlmError as error:
        assert error.message


def plannable(machine: Hardware) -> bool:
    shape = shape_from_catalog(entry(), quant())
    return fit_runtime(shape, machine, Overrides()).config.n_ctx > 0


@pytest.mark.parametrize("row", load_table(), ids=lambda row: f"{row.name} {row.memory_sizes}")
def test_every_row_of_the_table_can_be_pretended_in_every_size(row: GpuRow):
    sizes = [f" {size // GIB}GB" for size in row.memory_sizes] or [""]
    for size in sizes:
        name = row.name if size.strip() in row.name else row.name + size
        machine = find_preset(f"{name}, 64GB" if row.kind != "unified" else name)
        [found] = machine.accelerators
        assert (found.name, found.bandwidth_bytes_per_s) == (row.name, row.bandwidth_bytes_per_s)
        assert 0 < (found.memory_free or 0) <= (found.memory_total or 0)
        assert 0 < machine.memory.usable < machine.memory.total
        assert plannable(machine)


def test_what_a_shell_completes_is_understood_without_quotes():
    offered = complete_preset("")
    assert len(offered) > 200
    for word in offered:
        assert " " not in word and "(" not in word
        try:
            find_preset(word)
        except UsageError as error:  # a server, but of what size?
            assert "how much memory" in error.message


@pytest.mark.parametrize(
    ("begun", "among"),
    [
        ("RTX 40", "rtx-4090"),
        ("2x rtx-30", "2x rtx-3090"),
        ("64GB desktop, RTX 40", "64GB desktop, rtx-4060-ti"),
        ("RTX 3090 + rtx-3060", "RTX 3090 + rtx-3060"),
        ("16", "16gb-laptop"),
        ("m3-max-4", "m3-max-40-core-gpu"),
    ],
)
def test_the_last_part_is_what_a_shell_completes(begun: str, among: str):
    assert among in complete_preset(begun)


def test_different_cards_memory_and_cores_make_one_machine():
    machine = find_preset("RTX 3060 12GB + RTX 3090, 64GB, 16 cores")
    assert [(card.index, card.name) for card in machine.accelerators] == [
        (0, "RTX 3060"),
        (1, "RTX 3090"),
    ]
    assert (machine.memory.total, machine.cpu.usable_cores) == (64 * GIB, 16)
    assert find_preset("rtx-3060 + 2x rtx-3090").accelerators[2].name == "RTX 3090"


@pytest.mark.parametrize(
    ("name", "gb_per_s"),
    [
        ("4GB Raspberry Pi 4", 4),
        ("Raspberry Pi 4GB", 4),  # which one is not said, so it is the slower
        ("Raspberry Pi 16GB", 10),  # only the newer one has so much
        ("8GB Raspberry Pi 5", 10),
        ("pi 5 8GB", 10),
    ],
)
def test_a_raspberry_pi_4_is_not_as_fast_as_a_5(name: str, gb_per_s: int):
    assert find_preset(name).memory_bandwidth_bytes_per_s == gb_per_s * 10**9


def test_an_old_desktop_has_no_avx2():
    assert "avx2" not in find_preset("16GB old desktop").cpu.isa
    assert "avx2" in find_preset("16GB desktop").cpu.isa


@pytest.mark.parametrize(
    ("name", "card", "memory_gib"),
    [
        ("g5.xlarge", "A10", 16),
        ("Strix Halo 128GB", "Ryzen AI Max+ 395", 128),
        ("MacBook Pro M3 16GB", "M3", 16),
        ("MacBook Pro M3 Pro 36GB", "M3 Pro", 36),
        ("Mac mini M4", "M4", 16),
    ],
)
def test_machines_that_are_sold_whole_are_known_by_their_name(name, card: str, memory_gib: int):
    machine = find_preset(name)
    assert machine.accelerators[0].name == card
    assert machine.memory.total == memory_gib * GIB


def test_the_gpu_cores_of_a_chip_can_be_said():
    assert find_preset("M4 Max 40-core 128GB").memory_bandwidth_bytes_per_s == 0.75 * 546 * 10**9
    assert find_preset("M4 Max 128GB").memory_bandwidth_bytes_per_s == 0.75 * 410 * 10**9


@pytest.mark.parametrize(
    "name",
    [
        "RTX 4090, 0GB", "RTX 4090, -5GB", "RTX 4090, NaNGB", "RTX 4090, inf GB",
        "RTX 4090, 10^30 GB", "1e300GB laptop", "laptop -8GB", "0x RTX 4090", "-1x RTX 4090",
        "1e9x RTX 4090", "99x RTX 4090", "RTX 4090, 0 cores", "RTX 4090, 1e9 cores", "64GB",
        "RTX 4090, NaN cores", "16GB laptop, 32GB desktop", "RTX 4090, 64GB, 32GB", "RTX 4090,,",
        "2x DGX Spark", "2x 16GB laptop", "M2 512GB", "M2, 512GB", "RTX 4090 " * 100,
        "9x H100, 9x H100", "DGX Spark 64GB",
    ],
)  # fmt: skip
def test_what_no_machine_can_be_is_refused(name: str):
    with pytest.raises(UsageError) as caught:
        find_preset(name)
    assert caught.value.remedy


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "my box, the old one.json"
    path.write_text(json.dumps(to_document(find_preset("RTX 4090, 16GB"))), encoding="utf-8")
    return path


def test_the_machine_of_a_file_can_get_other_parts(box: Path, tmp_path: Path):
    plain = tmp_path / "box.json"
    box.rename(plain)
    machine = find_preset(f"{plain}, 128GB, RTX 3090, 24 cores")
    assert [card.name for card in machine.accelerators] == ["RTX 4090", "RTX 3090"]
    assert (machine.memory.total, machine.memory.usable) == (128 * GIB, 126 * GIB)
    assert machine.cpu.usable_cores == 24


def test_more_memory_in_a_machine_that_shares_it_is_more_for_its_gpu(tmp_path: Path):
    path = tmp_path / "mac.json"
    path.write_text(json.dumps(to_document(find_preset("M2 Max 32GB"))), encoding="utf-8")
    assert find_preset(f"{path}, 96GB").accelerators[0].memory_total == 72 * GIB


def test_a_file_with_commas_in_its_name_is_found(box: Path):
    assert find_preset(str(box)).memory.total == 16 * GIB


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path):
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    with pytest.raises(UsageError, match="is not a file"):
        find_preset(str(path))


@pytest.mark.parametrize("name", ["/dev/zero", "/", "~no-such-user/box.json", "a\0b.json"])
def test_what_is_no_file_is_an_error(name: str):
    with pytest.raises(MlmError):
        find_preset(name)


def test_an_endless_file_is_not_read(tmp_path: Path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)  # sparse
    with pytest.raises(UsageError, match="too long"):
        find_preset(str(path))
