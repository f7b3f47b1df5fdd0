"""A few cases of each stress suite; `scripts/stress_store.py` runs all of them, with any seed."""

import subprocess
from pathlib import Path

import pytest
from stress import canary, crowd, faults, full_disk, hostile, kills, memory

SAMPLED_FAULTS = ("cut with RST", "a bit flipped", "spliced", "wrong ranges", "chaos", "busy")


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("start", ["fresh", "resumed"])
@pytest.mark.parametrize(
    "fault", [name if name in SAMPLED_FAULTS else slow(name) for name in faults.FAULTS]
)
@pytest.mark.parametrize("seed", [0, *map(slow, (1, 2, 3, 4))])
def test_no_fault_of_a_server_makes_a_bad_file(fault: str, start: str, seed: int, tmp_path: Path):
    faults.endure(faults.Case(fault, start, seed), tmp_path)


@pytest.mark.parametrize("kind", ["bytes", "clock"])
@pytest.mark.parametrize("seed", [0, *map(slow, range(1, 12))])
def test_a_kill_at_any_moment_costs_little(kind: str, seed: int, tmp_path: Path):
    figures = kills.endure(kills.Case(kind, seed), tmp_path)
    # Of all kills the median must be within the limit. One may cost what was under way, too.
    assert figures["MiB fetched twice"] <= 1.5 * kills.LIMITS["MiB fetched twice (median)"]


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 41))
def test_a_kill_at_any_step_leaves_nothing_behind(step: int, tmp_path: Path):
    figures = kills.endure(kills.Case("step", step), tmp_path)
    assert figures["killed"] or step > 25, "the steps were not seen"


@pytest.mark.parametrize("seed", [0, *map(slow, range(1, 10))])
def test_a_disk_that_fills_up_loses_nothing(seed: int, tmp_path: Path):
    (case,) = full_disk.cases(1, seed)
    full_disk.endure(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_fetches_a_file_once_though_owners_die(seed: int, tmp_path: Path):
    crowd.endure(crowd.Case(seed), tmp_path)


@pytest.mark.parametrize("field", hostile.FIELDS)
@pytest.mark.parametrize("rounds", [6, slow(60)])
def test_no_name_from_outside_leads_out_of_the_store(field: str, rounds: int, tmp_path: Path):
    chosen = [case for case in hostile.cases(200, rounds) if case.field == field]
    for number, case in enumerate(chosen[:: len(chosen) // rounds]):
        hostile.endure(case, tmp_path / str(number))


def test_there_are_enough_hostile_names():
    for field in hostile.FIELDS:
        assert sum(case.field == field for case in hostile.cases(200, 0)) == 200


@pytest.mark.parametrize(
    "load", [name if name == "a million files" else slow(name) for name in memory.LOADS]
)
def test_memory_stays_small_whatever_comes(load: str, tmp_path: Path):
    memory.endure(memory.Case(load), tmp_path)


@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize(
    "scene", [name if name == "all is well" else slow(name) for name in canary.SCENES]
)
def test_token_and_signatures_stay_where_they_belong(
    scene: str, is_encrypted: bool, tmp_path: Path
):
    canary.endure(canary.Case(scene, is_encrypted), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True])
def test_offline_nothing_reaches_for_the_network(alone: bool, tmp_path: Path):
    if alone and subprocess.run(["unshare", "-Urn", "true"]).returncode:
        pytest.skip("no namespaces here")
    canary.go_offline(tmp_path, alone=alone)
