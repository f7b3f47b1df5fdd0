"""``mlm hardware``: a table for people, a document for scripts."""

import json
from pathlib import Path

import pytest

from mlm.hardware.preset import find_preset


def test_the_document_has_the_fields_that_scripts_rely_on(mlm, home: Path, hub_cache: Path):
    result = mlm("hardware", "--json")
    document = result.json

    assert result.exit_code == 0
    assert document["schema"] == "mlm.hardware/1"
    assert set(document["cpu"]) == {
        "name", "physical_cores", "logical_cores", "usable_cores", "isa",
        "performance_cores", "efficiency_cores", "threads_per_core", "quota",
    }  # fmt: skip
    assert set(document["memory"]) == {"total", "available", "limit", "usable", "lockable"}
    assert isinstance(document["accelerators"], list)
    assert document["memory_bandwidth_bytes_per_s"] > 10**8
    assert document["fingerprint"]
    assert "cpu" in document["sources"]
    assert [disk["path"] for disk in document["disks"]] == [str(home), str(hub_cache)]


def test_the_document_can_be_pretended_elsewhere(mlm, tmp_path: Path):
    path = tmp_path / "box.json"
    path.write_text(mlm("hardware", "--json").stdout, encoding="utf-8")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert find_preset(str(path)).memory.total == document["memory"]["total"]


def test_the_table_fits_eighty_columns_and_says_where_figures_come_from(mlm):
    result = mlm("hardware")
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    for words in ("processor", "usable", "memory speed", "GB/s", "measured", "free of"):
        assert words in result.stdout


def test_the_second_run_does_not_measure_again(mlm):
    first = mlm("hardware", "--json").json
    second = mlm("hardware", "--json").json
    assert second["sources"]["memory_bandwidth_bytes_per_s"] == "measured earlier"
    speed = "memory_bandwidth_bytes_per_s"
    assert second[speed] == first[speed]


def test_a_pretended_machine_shows_what_is_assumed_of_it(mlm):
    result = mlm("hardware", "--hardware", "RTX 3060 12GB + RTX 3090, 64GB, 16 cores")
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    for words in ("RTX 3060", "RTX 3090", "16 physical", "64.0 GiB [as asked]", "assumed"):
        assert words in result.stdout


def test_a_document_from_elsewhere_commands_no_terminal(mlm, tmp_path: Path):
    document = mlm("hardware", "--json", "--hardware", "RTX 4090").json
    document["cpu"]["name"] = document["accelerators"][0]["name"] = "evil\x1b[2J\nGPU 9"
    path = tmp_path / "box.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    result = mlm("hardware", "--hardware", str(path))
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\nGPU 9" not in result.stdout


@pytest.mark.parametrize(
    ("machine", "code", "message"),
    [
        ("RTX 4099", 3, "near it: RTX 4090"),
        ("nowhere.json", 3, "cannot read nowhere.json"),
        ("RTX 4090, 0GB", 2, "no machine has that much memory"),
        ("RTX 4090 48GB", 2, "the RTX 4090 has 24GB"),
        ("/dev/zero", 2, "is not a file"),
    ],
)
def test_a_machine_that_cannot_be_gets_a_clear_answer(mlm, machine: str, code: int, message: str):
    result = mlm("hardware", "--hardware", machine)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "hint:" in result.stderr
