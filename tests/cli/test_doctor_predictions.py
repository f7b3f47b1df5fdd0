"""``mlm doctor`` says whether predictions have come true."""

import time
from pathlib import Path

import pytest
from fakes.observations import observation

from mlm.cli.doctor._finding import examine
from mlm.cli.doctor._predictions import check_predictions
from mlm.errors import ExitCode
from mlm.hardware.detect import survey_hardware
from mlm.settings import Settings
from mlm.stats.ledger import Ledger

NOTHING_YET = "nothing measured yet: mlm bench REF"


@pytest.fixture
def remember(home: Path):
    """Write observations of this machine into the ledger."""
    machine = survey_hardware().fingerprint

    def write(*changes: dict[str, object]) -> None:
        ledger = Ledger(home / "ledger.sqlite")
        for change in changes:
            ledger.note(observation(**{"at": time.time(), "machine": machine} | change))
        ledger.close()

    return write


def weights(actual: float) -> dict[str, object]:
    return {"quantity": "weights", "predicted": 1e9, "actual": actual, "source": "load"}


def summary() -> list[tuple[str, str]]:
    found = examine(check_predictions, Settings.from_environment(offline=True))
    return [(finding.status, finding.detail) for finding in found]


def test_an_empty_ledger_says_how_to_fill_it(mlm):
    result = mlm("doctor", "--predictions")
    assert (result.exit_code, result.stdout.strip()) == (ExitCode.OK, NOTHING_YET)
    assert mlm("doctor", "--predictions", "--json").json["predictions"] == []
    assert summary() == [("ok", NOTHING_YET)]


def test_every_quantity_has_its_bias_spread_and_correction(mlm, remember):
    remember(weights(1.02e9), {"actual": 15.0}, {"actual": 15.0, "model": "other"})
    text = mlm("doctor", "--predictions").stdout
    assert max(map(len, text.splitlines())) <= 80
    (row,) = [line for line in text.splitlines() if "decode" in line]
    assert "-25.0 %" in row
    assert row.split()[-1].startswith("x0.")
    (row,) = [line for line in text.splitlines() if line.startswith("cpu     weights")]
    assert row.split()[-1] == "none"


def test_the_document_has_shares_and_not_percent(mlm, remember):
    remember(weights(1.02e9), {"actual": 15.0})
    document = mlm("doctor", "--predictions", "--json").json
    assert document["schema"] == "mlm.doctor.predictions/1"
    memory, decode = document["predictions"]
    assert (memory["quantity"], memory["bias"], memory["correction"]) == ("weights", 0.02, None)
    assert (decode["quantity"], decode["observations"], decode["bias"]) == ("decode_tps", 1, -0.25)
    assert document["memory_bias"] == 0.02
    assert document["findings"] == []


def test_doctor_itself_says_it_in_one_line(remember):
    remember(weights(1.02e9), {"actual": 15.0})
    ((status, detail),) = summary()
    assert status == "ok"
    assert "memory +2.0 %" in detail
    assert "decode speed -25.0 %" in detail


def test_memory_that_was_planned_wrong_is_a_finding(remember):
    remember(weights(1.2e9))
    ((status, detail),) = summary()
    assert status == "warn"
    assert "20 % more memory than was planned" in detail


def test_other_machines_do_not_count(mlm, remember):
    remember({"machine": "another"})
    assert mlm("doctor", "--predictions").stdout.strip() == NOTHING_YET


def test_a_name_cannot_command_the_terminal(mlm, remember):
    remember({"model": "\x1b]0;owned\x07", "engine": "\x1b[31mevil\x1b[0m\nnew line"})
    assert "\x1b" not in mlm("doctor", "--predictions").stdout
    assert "\x1b" not in mlm("doctor", "--predictions", "--json").stdout
