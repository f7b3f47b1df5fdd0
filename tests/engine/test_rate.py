"""How fast this CPU computes with the engine is measured once, by the engine, and remembered."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.facts import GB, machine

from mlm.engine import rate
from mlm.engine.arithmetic import CACHES, WEIGHTS
from mlm.engine.rate import recall_arithmetic, with_arithmetic
from mlm.hardware.types import Arithmetic, Hardware

MACHINE = machine(8, cores=2, bandwidth=20 * GB)
FIGURES = Arithmetic(
    reading={"Q4_K": 9e9, "F16": 15e9},
    starting={"Q4_K": 5e-6},
    multiplying={"Q4_K": 50e9},
    attending={"F16 128": 3e-8},
    step_s=1e-6,
    n_threads=2,
    scaling=0.9,
    n_cpus=2.0,
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Arithmetic]:
    """What measuring yields, one after the other; the list shrinks with each."""
    waiting = [FIGURES]
    monkeypatch.setattr(rate, "_measure", lambda *_: waiting.pop(0) if waiting else None)
    return waiting


def test_the_engine_measures_itself(tmp_path: Path):
    found = with_arithmetic(MACHINE, tmp_path).arithmetic
    assert found is not None
    assert set(found.reading) == set(found.starting) == set(found.multiplying) == set(WEIGHTS)
    assert {name.split()[0] for name in found.attending} == set(CACHES)
    # As wide as units are apart: others may compute here meanwhile.
    assert all(10**6 < value < 10**13 for value in found.reading.values())
    assert all(10**7 < value < 10**15 for value in found.multiplying.values())
    assert all(0 < value < 1 for value in found.starting.values())
    assert found.n_threads == 2
    assert 0 < found.n_cpus < 2.2
    assert 0 < found.scaling <= 1
    assert recall_arithmetic(MACHINE, tmp_path).arithmetic == found


def test_it_is_measured_once_and_kept(tmp_path: Path, measured: list[Arithmetic]):
    assert recall_arithmetic(MACHINE, tmp_path).arithmetic is None
    for _ in range(2):
        assert with_arithmetic(MACHINE, tmp_path).arithmetic == FIGURES
    assert measured == []


@pytest.mark.parametrize(
    "other",
    [
        replace(MACHINE, fingerprint="another"),
        replace(MACHINE, cpu=replace(MACHINE.cpu, usable_cores=1)),
    ],
)
def test_another_machine_is_measured_anew(
    tmp_path: Path, measured: list[Arithmetic], other: Hardware
):
    measured.append(replace(FIGURES, step_s=2e-6))
    with_arithmetic(MACHINE, tmp_path)
    assert with_arithmetic(other, tmp_path).arithmetic == replace(FIGURES, step_s=2e-6)


@pytest.mark.parametrize(
    "junk", [b"", b"[]", b"{}", b'{"key": 1}', b"\xff\xfe", b'{"reading": {"Q4_K": -1}}']
)
def test_a_broken_file_is_measured_over(tmp_path: Path, measured: list[Arithmetic], junk: bytes):
    (tmp_path / "arithmetic.json").write_bytes(junk)
    assert with_arithmetic(MACHINE, tmp_path).arithmetic == FIGURES


@pytest.mark.parametrize(
    ("name", "value"),
    [("scaling", 0), ("step_s", "fast"), ("attending", {"F16 128": [1e6, 1]}), ("reading", None)],
)
def test_figures_that_cannot_be_are_not_believed(
    tmp_path: Path, measured: list[Arithmetic], name: str, value: object
):
    with_arithmetic(MACHINE, tmp_path)
    path = tmp_path / "arithmetic.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {name: value}))
    assert recall_arithmetic(MACHINE, tmp_path).arithmetic is None


def test_cores_that_were_busy_are_expected_to_get_on_better_and_measured_again(
    tmp_path: Path, measured: list[Arithmetic], monkeypatch: pytest.MonkeyPatch
):
    measured[0] = replace(FIGURES, scaling=0.1, reading={"Q4_K": 1e9}, step_s=1e-3, n_cpus=1.2)
    measured.append(FIGURES)
    busy = with_arithmetic(MACHINE, tmp_path).arithmetic
    assert busy is not None
    assert busy.scaling == pytest.approx(0.9)
    assert busy.reading["Q4_K"] == pytest.approx(9e9)
    assert busy.step_s < 1e-5
    assert len(measured) == 1  # not again at once
    monkeypatch.setattr(rate, "_AGAIN_S", 0.0)
    assert with_arithmetic(MACHINE, tmp_path).arithmetic == FIGURES


def test_without_an_engine_or_memory_nothing_is_measured(
    tmp_path: Path, measured: list[Arithmetic], monkeypatch: pytest.MonkeyPatch
):
    assert with_arithmetic(machine(0.5), tmp_path).arithmetic is None
    monkeypatch.setattr(rate, "find_spec", lambda _: None)
    assert with_arithmetic(MACHINE, tmp_path) == MACHINE
    assert recall_arithmetic(MACHINE, tmp_path) == MACHINE
    assert measured == [FIGURES]


def test_an_engine_that_cannot_measure_leaves_the_machine_as_it_was(tmp_path: Path):
    assert rate._measure(tmp_path, 2) is None
