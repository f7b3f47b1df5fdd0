"""The advice for machines of all sizes, kept as a table that people have read."""

import difflib

import pytest

from scripts.generate_golden import COMMAND, MACHINES, PATH, golden_text


def test_the_advice_is_what_it_was_when_somebody_last_read_it():
    kept, now = PATH.read_text(encoding="utf-8"), golden_text()
    if kept == now:
        return
    changes = difflib.unified_diff(kept.splitlines(), now.splitlines(), "kept", "now", lineterm="")
    pytest.fail(
        "the advice has changed. If it is as good as before, keep it with: "
        f"PYTHONPATH=. {COMMAND}\n" + "\n".join(changes)
    )


def test_the_table_goes_from_a_raspberry_pi_to_a_rack():
    assert len(MACHINES) >= 25
    assert len({name for name, _, _ in MACHINES}) == len(MACHINES)
